/**
 * A drop that was published, but whose receipt was not written, is processed again. What an operator
 * changed in the repository in between is kept (I3, I6): the drop gets its receipt and nothing else.
 */

import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { onceContext } from '#src/daemon/daemon.js';
import { parseRepositoryName } from '#src/image/names.js';
import { publishOnce } from '#src/publisher/publish-once.js';
import { partsOf, stageDrop } from '#src/publisher/stage-drop.js';
import type { DropToPublish } from '#src/publisher/stored-drop.js';
import type { DropOutcome, Edit, StagedDrop } from '#src/publisher/target.js';
import { toTimestamp } from '#src/repository/timestamp.js';
import { resolveRepository } from '#src/settings/repository-policy.js';
import { stage as stageJob } from '#src/staging/stage.js';
import { type Disk, nodeDisk } from '#src/storage/disk.js';
import { begin } from '#src/storage/transaction.js';
import { editRepository } from '../../support/edit-repository.js';
import { interfereWith, systemError } from '../../support/faulty-disk.js';
import { makeLayout } from '../../support/make-image.js';
import { readRepository } from '../../support/outside-reader.js';
import { type TestServices, testServices } from '../../support/service.js';
import { removeTempDirs, tempDir } from '../../support/temp-dir.js';

describe('a drop that is processed again after its flip', () => {
  let root: string;
  let services: TestServices;
  let clockMs: number;
  /** Set, the history cannot be written: as when the process died before it was. */
  let isForgetful: boolean;

  beforeEach(async () => {
    root = tempDir();
    isForgetful = false;
    const disk: Disk = interfereWith(nodeDisk, (operation) => {
      const writes = operation.verb === 'open' || operation.verb === 'rename';
      const isRead = operation.paths.endsWith(' read');
      if (isForgetful && writes && !isRead && operation.paths.includes('/history/')) {
        throw systemError('EIO', operation);
      }
    });
    services = await testServices(root, { disk });
    clockMs = Date.now();
    Object.assign(services, { nowMs: () => ++clockMs });
  });
  afterEach(async () => {
    await services.close();
    removeTempDirs();
  });

  const policyOf = (name: string) =>
    resolveRepository(services.settings, parseRepositoryName(name));
  function claimed(name: string, ...layers: string[]): DropToPublish & { digest: string } {
    const path = join(root, 'drops', `${name}-${clockMs}`);
    mkdirSync(path, { recursive: true });
    const { digest } = makeLayout(path, { layers, tag: name === '@all' ? 'app:1' : '1' });
    const given = {
      tag: undefined,
      tolerateAbsent: true,
      ingest: 'copy',
      compress: 'none',
    } as const;
    return { name, path, kind: 'directory', at: toTimestamp(++clockMs), ...given, digest };
  }
  /** Reads it; what is stored of it is kept until the services are closed. */
  async function stage(drop: DropToPublish): Promise<StagedDrop> {
    const { roots, uid, run, events, transactions } = services;
    const { repository, id } = policyOf('app');
    const transaction = transactions.next();
    await run(begin, { roots, transaction });
    const context = { roots, uid, run, emit: events.emit, stage: stageJob };
    const stored = await stageDrop(context, { id, transaction, drop });
    const [part] = partsOf({ ...drop, repository, namespace: '' }, stored).parts;
    if (part === undefined) throw new Error('no part');
    return part.staged;
  }
  async function publish(...drops: readonly StagedDrop[]): Promise<DropOutcome | undefined> {
    const change = { kind: 'publish', drops } as const;
    return (await services.targets.local.publish(policyOf('app'), change)).outcomes[0];
  }
  const edit = (what: Edit) => editRepository(services, 'app', what);
  const tags = () => readRepository(join(root, 'published'), 'app')?.tags;

  const EDITS: Record<string, Edit> = {
    untag: { kind: 'untag', tags: ['1'] },
    rollback: { kind: 'rollback', to: undefined },
    remove: { kind: 'remove' },
  };
  for (const [name, what] of Object.entries(EDITS)) {
    for (const forgets of [false, true]) {
      const how = forgets ? ', its flip not yet in the history' : '';
      it(`does not undo an operator's ${name}${how}`, async () => {
        const old = claimed('app', 'old');
        await publish(await stage(old));
        const drop = claimed('app', 'new');
        const staged = await stage(drop);
        isForgetful = forgets;
        expect((await publish(staged))?.status).to.equal('published');
        isForgetful = false;
        expect(tags()).to.deep.equal({ 1: drop.digest });
        await edit(what);
        const [, flip] = await services.targets.local.history(policyOf('app').id);
        expect(flip?.tags, 'also when a crash lost the record').to.deep.equal({
          moved: { names: ['1'], count: 1 },
        });
        const after = tags();
        expect(after).to.deep.equal(name === 'rollback' ? { 1: old.digest } : {});
        // Nothing of it is read again: it may be gone, and its repository may lack its base by now.
        rmSync(drop.path, { recursive: true });
        const outcome = await publish(staged);
        expect(outcome).to.include({ status: 'published' });
        expect(outcome)
          .to.have.property('moves')
          .that.deep.equals([{ tag: '1', from: old.digest, to: drop.digest }]);
        expect(tags()).to.deep.equal(after);
      });
    }
  }

  it('is recognised by its path, and by the name an earlier version gave to a claim', async () => {
    for (const [first, again] of [
      ['team/app=1', 'team/app=1'],
      ['team~app=1', 'team/app=1'],
      ['team/app=2', 'team~app=2'],
    ] as const) {
      const staged = await stage({ ...claimed('app', first, again), name: first });
      await publish(staged);
      await edit(EDITS.untag as Edit);
      await publish({ ...staged, origin: { ...staged.origin, drop: again } });
      expect(tags(), `${first}, then ${again}`).to.deep.equal({});
    }
  });

  it('is a different drop when it was claimed at another time', async () => {
    const drop = claimed('app', 'one');
    const staged = await stage(drop);
    await publish(staged);
    await edit(EDITS.untag as Edit);
    await publish({ ...staged, origin: { ...staged.origin, at: toTimestamp(++clockMs) } });
    expect(tags()).to.deep.equal({ 1: drop.digest });
  });

  it('as a bundle publishes only the unpublished parts', async () => {
    const drop = claimed('@all', 'one');
    const bundle = { drop: { ...drop, fromInside: true }, repository: undefined, namespace: '' };
    await publishOnce(onceContext(services), bundle);
    expect(tags()).to.deep.equal({ 1: drop.digest });
    await edit(EDITS.untag as Edit);
    const { parts, refused } = await publishOnce(onceContext(services), bundle);
    expect(parts.map(({ outcome }) => outcome.status)).to.deep.equal(['published']);
    expect(refused).to.deep.equal([]);
    expect(tags()).to.deep.equal({});
  });

  it('is distinguished from the others of its batch, which are published', async () => {
    const staged = await stage(claimed('app', 'one'));
    await publish(staged);
    await edit(EDITS.untag as Edit);
    const path = join(root, 'drops', 'two');
    makeLayout(path, { layers: ['two'], tag: '2' });
    const two = await stage({ ...claimed('app', 'other'), path });
    const change = { kind: 'publish', drops: [staged, two] } as const;
    const { outcomes } = await services.targets.local.publish(policyOf('app'), change);
    expect(outcomes.map(({ status }) => status)).to.deep.equal(['published', 'published']);
    expect(tags()).to.have.keys('2');
  });
});
