/**
 * One cleaning frees what its snapshots held, and keeps content that a running publish has found in the
 * store and not linked yet.
 */
import {
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  rmdirSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { expect } from 'chai';
import type { Digest } from '#src/image/digest.js';
import type { RepositoryId } from '#src/image/names.js';
import { prepareInbox } from '#src/inbox/claim.js';
import type { Timestamp } from '#src/repository/timestamp.js';
import { readClock } from '#src/storage/clock.js';
import { type Disk, nodeDisk } from '#src/storage/disk.js';
import { markUsed } from '#src/storage/stored.js';
import {
  contentPath,
  snapshotPath,
  sparePath,
  transactionName,
  trashDirectory,
  unusedPath,
  workPath,
} from '#src/storage/tree-paths.js';
import { cleanRepository } from '#src/targets/directory/clean-snapshots.js';
import { discardSpareTrees } from '#src/targets/directory/spare-tree.js';
import { eachStored, planSweep, sweep } from '#src/targets/directory/sweep.js';
import { verifyRepository } from '#src/targets/directory/verify-tree.js';
import { deliver, dropPath } from '../../support/deliver.js';
import { makeLayout } from '../../support/make-image.js';
import { type TestServices, testServices } from '../../support/service.js';
import { removeTempDirs, tempDir } from '../../support/temp-dir.js';
import { waitFor } from '../../support/wait-for.js';

const ID = 'app' as RepositoryId;
const GRACE_MS = 300;

describe('sweep', () => {
  let root: string;
  let services: TestServices;
  /** What a publish of another process does while the sweep looks at what is under way. */
  let meanwhile: () => void;
  /** The same after the sweep has decided, before it deletes: it compares with the kept snapshots then. */
  let atLast: () => void;
  let old: { digest: Digest; snapshot: Timestamp };

  beforeEach(async () => {
    root = tempDir();
    meanwhile = () => {};
    atLast = () => {};
    const disk: Disk = {
      ...nodeDisk,
      list: (path) => {
        const found = nodeDisk.list(path);
        if (path === join(root, 'state/work')) meanwhile();
        if (/\/master\/app\/[^/]+\/blobs$/.test(String(path))) atLast();
        return found;
      },
    };
    services = await testServices(root, { disk, yaml: 'retention: {grace: 0s, keep: 5}\n' });
    await services.run(prepareInbox, { inbox: services.inbox });
    old = await publish('old');
    await publish('new');
    await isUntouched();
  });

  afterEach(async () => {
    await services.close();
    removeTempDirs();
  });

  const publish = async (layer: string) => {
    const { digest } = makeLayout(dropPath(root, 'app:1'), { layers: ['base', layer] });
    const outcome = await deliver(services, 'app:1');
    const snapshot = outcome !== undefined && 'snapshot' in outcome && outcome.snapshot;
    return { digest: digest as Digest, snapshot: snapshot as Timestamp };
  };
  const stored = () => contentPath(services.roots, old.digest);
  /** Until nothing in the store was touched within the grace. */
  const isUntouched = () =>
    waitFor('the grace', () => {
      const times: number[] = [];
      eachStored(nodeDisk, services.roots, (path) => times.push(statSync(path).ctimeMs));
      return Date.now() - Math.max(...times) > GRACE_MS;
    });
  const request = () => ({
    roots: services.roots,
    nowMs: Date.now(),
    clock: readClock(),
    graceMs: GRACE_MS,
  });
  const plan = () => {
    const going = [snapshotPath(services.roots, ID, old.snapshot)];
    return services.run(planSweep, { ...request(), going, renewing: [] });
  };
  /** Moves the old snapshot into the trash. */
  const clean = async () => {
    const { roots } = services;
    const names = await services.run(cleanRepository, {
      ...request(),
      roots,
      id: ID,
      keep: 1,
      graceMs: 0,
    });
    expect(names).to.deep.equal([old.snapshot]);
  };

  it('frees at once the content held only by snapshots in the trash', async () => {
    await clean();
    const { files, bytes } = await services.run(sweep, request());
    expect(existsSync(stored())).to.equal(false);
    // Its manifest, the Docker form of that, a config and a layer; the other layer is served still.
    expect(files).to.equal(4);
    expect(bytes).to.be.greaterThan(0);
    expect(readdirSync(trashDirectory(services.roots))).to.deep.equal([]);
    const { findings } = await services.run(verifyRepository, { roots: services.roots, id: ID });
    expect(findings).to.deep.equal([]);
  });

  it('matches its plan, to the byte', async () => {
    // Made ready when the old one was current.
    const ready = sparePath(services.roots, 'p1x1', ID);
    mkdirSync(join(ready, 'version', 'manifests', 'oci'), { recursive: true });
    linkSync(stored(), join(ready, 'version', 'manifests', 'oci', old.digest));
    await isUntouched();
    const planned = await plan();
    expect(existsSync(stored())).to.equal(true);
    await services.run(discardSpareTrees, { roots: services.roots });
    await clean();
    expect(await services.run(sweep, request())).to.deep.equal(planned);
    expect(planned.files).to.equal(4);
  });

  it('keeps content that was used again after its last snapshot was removed', async () => {
    await clean();
    meanwhile = () => markUsed(nodeDisk, stored());
    expect((await services.run(sweep, request())).files).to.equal(3);
    expect(existsSync(stored())).to.equal(true);
  });

  it('keeps content that a publish finds in the store after the sweep has decided', async () => {
    await clean();
    atLast = () => markUsed(nodeDisk, stored());
    expect((await services.run(sweep, request())).files).to.equal(3);
    expect(existsSync(stored())).to.equal(true);
  });

  it('removes nothing while a publish that started earlier is running', async () => {
    const began = transactionName('somebody', Date.now() - 1000, 1);
    mkdirSync(workPath(services.roots, began));
    expect((await plan()).files).to.equal(0);
    await clean();
    expect((await services.run(sweep, request())).files).to.equal(0);
    expect(existsSync(stored())).to.equal(true);
  });

  it('is not misled by a fast clock: content that was never linked has its grace period', async () => {
    const orphan = join(services.roots.state, 'content/sha256/ab', 'ab'.repeat(32));
    mkdirSync(dirname(orphan), { recursive: true });
    writeFileSync(orphan, 'left by a publish that failed');
    let ms = 0;
    const later = (passedMs: number) => {
      ms += passedMs;
      return { ...request(), nowMs: Date.now() + 1e10, clock: { id: 'here', ms } };
    };
    await services.run(sweep, later(0));
    await services.run(sweep, later(GRACE_MS - 1));
    // Another host knows of no time that passed since.
    await services.run(sweep, { ...later(0), clock: { id: 'there', ms: 1e9 } });
    expect(existsSync(orphan)).to.equal(true);
    markUsed(nodeDisk, orphan);
    await services.run(sweep, later(1));
    expect(existsSync(orphan), 'wanted again').to.equal(true);
    await services.run(sweep, later(GRACE_MS));
    expect(existsSync(orphan)).to.equal(false);
    expect(existsSync(unusedPath(services.roots))).to.equal(false);
  });

  it('removes content that a very long publish cannot have used', async () => {
    let ms = 0;
    const later = (passedMs: number) => {
      ms += passedMs;
      return { ...request(), clock: { id: 'here', ms } };
    };
    const work = (n: number) => workPath(services.roots, transactionName('somebody', 1000, n));
    mkdirSync(work(1));
    await clean();
    await services.run(sweep, later(0));
    await services.run(sweep, later(GRACE_MS));
    expect(existsSync(stored()), 'it may have, before').to.equal(true);
    rmdirSync(work(1));
    mkdirSync(work(2));
    await services.run(sweep, later(1));
    expect(existsSync(stored()), 'it would have, after').to.equal(false);
  });

  it('keeps recently touched content for its grace period', async () => {
    markUsed(nodeDisk, stored());
    expect((await plan()).files).to.equal(3);
    await clean();
    expect((await services.run(sweep, request())).files).to.equal(3);
    await isUntouched();
    expect((await services.run(sweep, request())).files).to.equal(1);
  });
});
