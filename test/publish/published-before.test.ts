/**
 * A drop that was published, and whose receipt was not written, comes again. What an operator did to
 * the repository in between stays done (I3, I6): the drop gets its receipt and nothing else.
 */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { publishContext } from '#src/daemon/services.js';
import { type Disk, nodeDisk } from '#src/disk/disk.js';
import { parseRepositoryName } from '#src/image/names.js';
import type { DropToPublish } from '#src/publish/drop.js';
import { type Edit, editRepository } from '#src/publish/edit.js';
import { type Finish, publishRepository } from '#src/publish/publish.js';
import { publishBundle } from '#src/publish/publish-bundle.js';
import { resolveRepository } from '#src/settings/repository-policy.js';
import { toTimestamp } from '#src/snapshot/timestamp.js';
import { interfereWith, systemError } from '../support/faulty-disk.js';
import { makeLayout } from '../support/make-image.js';
import { readRepository } from '../support/outside-reader.js';
import { type TestServices, testServices } from '../support/service.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';

describe('a drop that comes again after its flip', () => {
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
  const publish = async (drop: DropToPublish, finish: Finish) =>
    (await publishRepository(publishContext(services), policyOf('app'), [drop], finish))
      .outcomes[0];
  const noReceipt: Finish = async (outcomes) => {
    const error = systemError('EIO', { number: 0, verb: 'rename', paths: '.receipts' });
    return new Map(outcomes.map(({ drop }) => [drop, error]));
  };
  const withReceipt: Finish = async () => new Map();
  const edit = (what: Edit) => editRepository(publishContext(services), policyOf('app'), what);
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
        await publish(old, withReceipt);
        const drop = claimed('app', 'new');
        isForgetful = forgets;
        expect((await publish(drop, noReceipt))?.status).to.equal('retry');
        isForgetful = false;
        expect(tags()).to.deep.equal({ 1: drop.digest });
        await edit(what);
        const after = tags();
        expect(after).to.deep.equal(name === 'rollback' ? { 1: old.digest } : {});
        // Nothing of it is read again: it may be gone, and its repository may lack its base by now.
        rmSync(drop.path, { recursive: true });
        const outcome = await publish(drop, withReceipt);
        expect(outcome).to.include({ status: 'published' });
        expect(outcome)
          .to.have.property('moves')
          .that.deep.equals([{ tag: '1', from: old.digest, to: drop.digest }]);
        expect(tags()).to.deep.equal(after);
      });
    }
  }

  it('is known by its path, and by the name an earlier version gave one it took over', async () => {
    for (const [first, again] of [
      ['team/app=1', 'team/app=1'],
      ['team~app=1', 'team/app=1'],
      ['team/app=2', 'team~app=2'],
    ] as const) {
      const drop = { ...claimed('app', first, again), name: first };
      await publish(drop, noReceipt);
      await edit(EDITS.untag as Edit);
      await publish({ ...drop, name: again }, withReceipt);
      expect(tags(), `${first}, then ${again}`).to.deep.equal({});
    }
  });

  it('is another drop when it was claimed at another time', async () => {
    const drop = claimed('app', 'one');
    await publish(drop, withReceipt);
    await edit(EDITS.untag as Edit);
    await publish({ ...drop, at: toTimestamp(++clockMs) }, withReceipt);
    expect(tags()).to.deep.equal({ 1: drop.digest });
  });

  it('as a bundle publishes only what it had not published', async () => {
    const drop = claimed('@all', 'one');
    const bundle = { drop: { ...drop, fromInside: true }, namespace: '', policyOf };
    await publishBundle(publishContext(services), bundle);
    await edit(EDITS.untag as Edit);
    const again = await publishBundle(publishContext(services), bundle);
    expect(again.status).to.equal('published');
    expect(tags()).to.deep.equal({});
  });
});
