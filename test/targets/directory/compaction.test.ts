/**
 * Removed content becomes unreachable when its grace period ends, whether or not the repository is
 * published to again. Method: the cleaning of the daemon runs inline on a real disk with a controlled
 * clock.
 */

import { existsSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { cleanAll } from '#src/daemon/upkeep.js';
import type { Digest } from '#src/image/digest.js';
import type { RepositoryId } from '#src/image/names.js';
import { prepareInbox } from '#src/inbox/claim.js';
import type { Edit } from '#src/publisher/target.js';
import { nodeDisk } from '#src/storage/disk.js';
import type { Job } from '#src/storage/job.js';
import { contentPath } from '#src/storage/tree-paths.js';
import { repositoryHistory } from '#src/targets/directory/overview.js';
import { verifyRepository } from '#src/targets/directory/verify-tree.js';
import { deliver, dropPath } from '../../support/deliver.js';
import { editRepository } from '../../support/edit-repository.js';
import { makeLayout } from '../../support/make-image.js';
import { readRepository } from '../../support/outside-reader.js';
import { overwrite } from '../../support/published-file.js';
import { setClock, type TestServices, testServices } from '../../support/service.js';
import { removeTempDirs, tempDir } from '../../support/temp-dir.js';

const HOUR = 3_600_000;
const ID = 'app' as RepositoryId;

describe('content kept for grace without further publishes', () => {
  let root: string;
  let services: TestServices;
  let clockMs: number;
  let asked: string[];

  const open = async (keep: number) => {
    root = tempDir();
    const yaml = `retention: {grace: 1h, keep: ${keep}}\n`;
    services = await testServices(root, { disk: nodeDisk, yaml });
    clockMs = Date.now();
    asked = [];
    const { run } = services;
    setClock(services, () => clockMs);
    Object.assign(services, {
      run: (job: Job<unknown, unknown>, request: unknown) => {
        asked.push(job.jobName);
        return run(job, request);
      },
    });
    await services.run(prepareInbox, { inbox: services.inbox });
  };

  afterEach(async () => {
    await services.close();
    removeTempDirs();
  });

  const publish = async (tag: string, layer: string) => {
    const { digest } = makeLayout(dropPath(root, `app:${tag}`), { layers: [layer] });
    await deliver(services, `app:${tag}`);
    clockMs += 1000;
    return digest as Digest;
  };
  const edit = async (what: Edit) => {
    const result = await editRepository(services, 'app', what);
    clockMs += 1000;
    return result;
  };
  const clean = async () => {
    asked = [];
    await cleanAll(services);
    clockMs += 1000;
  };
  const web = (...path: string[]) => join(root, 'published', 'web', 'app', ...path);
  const serves = (digest: Digest) => existsSync(web('manifests', 'oci', digest));
  const current = () => readlinkSync(web()).split('/').at(-1) ?? '';
  const snapshots = () => readdirSync(join(root, 'published', 'master', 'app')).sort();
  const seen = () => readRepository(join(root, 'published'), 'app');
  const history = () =>
    services
      .run(repositoryHistory, { roots: services.roots, id: ID })
      .then((all) => all.map(({ why }) => why));

  it('expires on time: first by digest, then from the disk', async () => {
    await open(1);
    const good = await publish('good', 'good');
    const secret = await publish('secret', 'secret');
    await edit({ kind: 'untag', tags: ['secret'] });
    clockMs += HOUR - 3000;
    await clean();
    expect(serves(secret), 'a pull under way').to.equal(true);
    clockMs += 3000;
    const kept = statSync(web('manifests', 'oci', 'good')).mtimeMs;
    await clean();
    expect(serves(secret)).to.equal(false);
    expect(seen()?.tags).to.deep.equal({ good });
    expect(statSync(web('manifests', 'oci', 'good')).mtimeMs, 'no ETag changes').to.equal(kept);
    expect(await history()).to.deep.equal(['clean', 'untag', 'publish', 'publish']);
    // What had resolved the last snapshot before ends well, too.
    expect(snapshots()).to.have.length(2);
    clockMs += HOUR;
    await clean();
    expect(snapshots()).to.deep.equal([current()]);
    expect(existsSync(contentPath(services.roots, secret))).to.equal(false);
    expect(existsSync(contentPath(services.roots, good))).to.equal(true);
    const found = await services.run(verifyRepository, { roots: services.roots, id: ID });
    expect(found.findings).to.deep.equal([]);
  });

  it('needs one compaction snapshot, and one read of an idle repository', async () => {
    await open(3);
    await publish('1', 'one');
    await publish('1', 'two');
    await clean();
    expect(asked).to.include('carriedBy').and.not.to.include('buildSnapshot');
    await clean();
    expect(asked).not.to.include('carriedBy');
    clockMs += HOUR;
    await clean();
    expect(asked.filter((job) => job === 'buildSnapshot')).to.have.length(1);
    const made = current();
    await clean();
    clockMs += 24 * HOUR;
    await clean();
    expect(asked).to.include('planClean').and.not.to.include('carriedBy');
    expect(current()).to.equal(made);
    expect(services.lines.filter(({ event }) => event === 'clean.done')[0]?.fields).to.include({
      renewed: 1,
    });
  });

  it('is compacted without displacing the snapshot for a rollback', async () => {
    await open(2);
    const one = await publish('1', 'one');
    const first = current();
    await publish('1', 'two');
    const second = current();
    clockMs += HOUR;
    await clean();
    clockMs += HOUR;
    await clean();
    expect(snapshots()).to.deep.equal([first, current()]);
    expect(snapshots()).not.to.include(second);
    await edit({ kind: 'rollback', to: undefined });
    expect(seen()?.tags).to.deep.equal({ 1: one });
  });

  it('does not delay the end of a removal', async () => {
    await open(1);
    await publish('1', 'one');
    await publish('2', 'two');
    await edit({ kind: 'untag', tags: ['2'] });
    clockMs += HOUR / 2;
    await edit({ kind: 'remove' });
    clockMs += HOUR / 2;
    await clean();
    expect(asked).not.to.include('buildSnapshot');
    clockMs += HOUR / 2;
    await clean();
    expect(existsSync(web())).to.equal(false);
  });

  it('is logged once when its compaction fails, and other repositories are cleaned', async () => {
    await open(1);
    await publish('1', 'one');
    await publish('1', 'two');
    const file = web('.snapshot.json');
    const text = readFileSync(file, 'utf8').replace('"repository": "app"', '"repository": "x"');
    overwrite(file, text);
    clockMs += HOUR;
    await clean();
    await clean();
    const warnings = services.lines.filter(({ event }) => event === 'daemon.warning');
    expect(warnings.map(({ fields }) => fields.code)).to.deep.equal(['layout.unsafe']);
  });
});
