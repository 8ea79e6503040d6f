/**
 * Goal: what was stored when a drop was taken is published without reading the drop again, as long as
 * what it leaves out is there; and a drop that somebody removed is not published (its receipt would lie).
 */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { publishContext } from '#src/daemon/services.js';
import { parseRepositoryName } from '#src/image/names.js';
import type { DropOutcome, DropToPublish, StagedEarly } from '#src/publish/drop.js';
import { publishRepository } from '#src/publish/publish.js';
import { resolveRepository } from '#src/settings/repository-policy.js';
import { toTimestamp } from '#src/snapshot/timestamp.js';
import { makeLayout } from '../support/make-image.js';
import { makeTar } from '../support/make-tar.js';
import { readRepository } from '../support/outside-reader.js';
import { type TestServices, testServices } from '../support/service.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';

describe('a drop that was stored early', () => {
  let root: string;
  let services: TestServices;
  beforeEach(async () => {
    root = tempDir();
    services = await testServices(root);
    mkdirSync(join(root, 'drops'));
  });
  afterEach(async () => {
    await services.close();
    removeTempDirs();
  });

  const how = { tag: undefined, tolerateAbsent: false, ingest: 'copy', compress: 'none' } as const;
  const policy = () => resolveRepository(services.settings, parseRepositoryName('app'));
  const publish = async (...drops: DropToPublish[]): Promise<readonly DropOutcome[]> =>
    (await publishRepository(publishContext(services), policy(), drops)).outcomes;
  const tags = () => Object.keys(readRepository(join(root, 'published'), 'app')?.tags ?? {});

  function drop(name: string): DropToPublish {
    const path = join(root, 'drops', name);
    makeLayout(path, { layers: [name], tag: name });
    return { name, path, kind: 'directory', at: toTimestamp(1000), ...how };
  }
  /** Stored by a job of its own, as when it is taken. */
  async function early(given: DropToPublish, base?: StagedEarly['base']): Promise<DropToPublish> {
    const { roots, uid, run } = services;
    const transaction = `p1x1-1-${given.name}`;
    const asked = { roots, uid, transaction, id: policy().id, base: null, drops: [given] };
    await run('begin', { roots, transaction });
    const [answer] = await run('stageTogether', asked);
    if (answer === undefined || !('content' in answer)) throw new Error('it was not stored');
    await run('end', { roots, transaction });
    const { content, ingested } = answer;
    return { ...given, early: { content, ingested, forms: new Map(), base } };
  }
  const empty = ({ path }: DropToPublish) => {
    for (const name of readdirSync(path)) rmSync(join(path, name), { recursive: true });
  };
  const statuses = (outcomes: readonly DropOutcome[]) => outcomes.map(({ status }) => status);

  it('is not read again', async () => {
    const one = await early(drop('one'));
    empty(one);
    expect(statuses(await publish(one, drop('two')))).to.deep.equal(['published', 'published']);
    expect(tags()).to.have.members(['one', 'two']);
  });

  it('is not read again beside an archive', async () => {
    const one = await early(drop('one'));
    empty(one);
    const archive = { ...drop('two'), path: join(root, 'drops', 'two.tar'), kind: 'file' } as const;
    writeFileSync(archive.path, makeTar([]));
    const outcomes = await publish(one, archive);
    expect(outcomes.find((each) => each.drop === one)?.status).to.equal('published');
    expect(tags()).to.deep.equal(['one']);
  });

  it('is not read again where the snapshot is the same that holds what it leaves out', async () => {
    const [first] = await publish(drop('zero'));
    const snapshot = first && 'snapshot' in first ? first.snapshot : undefined;
    const one = await early(drop('one'), snapshot);
    empty(one);
    expect(statuses(await publish(one))).to.deep.equal(['published']);
  });

  it('is read again where another snapshot is current by now', async () => {
    await publish(drop('zero'));
    const intact = await early(drop('one'), toTimestamp(5));
    const gone = await early(drop('two'), null);
    empty(gone);
    const outcomes = await publish(intact, gone);
    expect(outcomes.find((each) => each.drop === intact)?.status).to.equal('published');
    expect(outcomes.find((each) => each.drop === gone)?.status).to.equal('rejected');
    expect(tags()).to.have.members(['zero', 'one']);
  });

  it('is not published when it has been removed', async () => {
    const one = await early(drop('one'));
    rmSync(one.path, { recursive: true });
    const outcomes = await publish(one, await early(drop('two')));
    const lost = outcomes.find((each) => each.drop === one);
    expect(lost?.status).to.equal('retry');
    expect(lost && 'error' in lost && (lost.error as { code?: string }).code).to.equal(
      'claim.lost',
    );
    expect(tags()).to.deep.equal(['two']);
  });
});
