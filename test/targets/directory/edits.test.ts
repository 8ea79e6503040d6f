/**
 * Manual changes (rollback, untag, remove) are publishes like any other: one flip, increasing names, and
 * running pulls succeed (I9). Method: the steps inline on a real disk, with a separate reader.
 */
import { cpSync, existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { cleanAll } from '#src/daemon/upkeep.js';
import { prepareInbox } from '#src/inbox/claim.js';
import type { Edit } from '#src/publisher/target.js';
import { toTimestamp } from '#src/repository/timestamp.js';
import { nodeDisk } from '#src/storage/disk.js';
import { planClean } from '#src/targets/directory/clean-snapshots.js';
import { repositoryHistory } from '#src/targets/directory/overview.js';
import { finishRemoval } from '#src/targets/directory/removal.js';
import { deliver, dropPath } from '../../support/deliver.js';
import { editRepository } from '../../support/edit-repository.js';
import { interfereWith, systemError } from '../../support/faulty-disk.js';
import { makeLayout, sha256 } from '../../support/make-image.js';
import { readRepository } from '../../support/outside-reader.js';
import { overwrite } from '../../support/published-file.js';
import { setClock, type TestServices, testServices } from '../../support/service.js';
import { removeTempDirs, tempDir } from '../../support/temp-dir.js';

describe('a manual change', () => {
  let root: string;
  let services: TestServices;
  let clockMs: number;

  beforeEach(async () => {
    root = tempDir();
    services = await testServices(root, { disk: nodeDisk, yaml: 'retention: {grace: 1h}\n' });
    clockMs = Date.now();
    setClock(services, () => clockMs);
    await services.run(prepareInbox, { inbox: services.inbox });
  });

  afterEach(async () => {
    await services.close();
    removeTempDirs();
  });

  const publish = async (tag: string, ...layers: string[]) => {
    const { digest } = makeLayout(dropPath(root, `app:${tag}`), { layers });
    await deliver(services, `app:${tag}`);
    clockMs += 1000;
    return digest;
  };
  const edit = async (what: Edit) => {
    const result = await editRepository(services, 'app', what);
    clockMs += 1000;
    return result;
  };
  const web = (...path: string[]) => join(root, 'published', 'web', 'app', ...path);
  const current = () => readlinkSync(web()).split('/').at(-1) ?? '';
  const tags = () => readRepository(join(root, 'published'), 'app')?.tags;
  const refusal = (promise: Promise<unknown>) =>
    promise.then(
      () => 'none',
      (error) => error.code as string,
    );

  it('rolls back to the previous snapshot, and forward again', async () => {
    const one = await publish('1', 'one');
    const first = current();
    const two = await publish('1', 'two');
    const second = current();
    const back = await edit({ kind: 'rollback', to: undefined });
    expect(tags()).to.deep.equal({ 1: one });
    expect(back).to.include({ to: first, base: second });
    expect(back.moves).to.deep.equal([{ tag: '1', from: two, to: one }]);
    expect(current() > second, 'names grow').to.equal(true);
    // A pull of the newer one goes on (I9).
    expect(sha256(readFileSync(web('manifests', 'oci', two)))).to.equal(two);
    await edit({ kind: 'rollback', to: undefined });
    expect(tags()).to.deep.equal({ 1: two });
  });

  it('rolls back to a named snapshot, and records it in the history', async () => {
    const one = await publish('1', 'one');
    const first = current();
    await publish('1', 'two');
    await publish('2', 'three');
    await edit({ kind: 'rollback', to: first as never });
    expect(tags()).to.deep.equal({ 1: one });
    const [newest] = await services.run(repositoryHistory, {
      roots: services.roots,
      id: 'app' as never,
    });
    expect(newest).to.include({ why: 'rollback', detail: first, current: true });
  });

  it('rejects a missing snapshot, tag or repository, and changes nothing', async () => {
    await publish('1', 'one');
    const before = current();
    const gone = '20200101T000000.000Z' as never;
    expect(await refusal(edit({ kind: 'rollback', to: gone }))).to.equal('snapshot.unknown');
    expect(await refusal(edit({ kind: 'rollback', to: undefined }))).to.equal('snapshot.unknown');
    expect(await refusal(edit({ kind: 'untag', tags: ['1', '2'] }))).to.equal('tag.unknown');
    expect(current()).to.equal(before);
    await edit({ kind: 'remove' });
    expect(await refusal(edit({ kind: 'untag', tags: ['1'] }))).to.equal('repository.unknown');
    expect(await refusal(edit({ kind: 'remove' }))).to.equal('repository.unknown');
  });

  it('removes tags, and their content after the grace period', async () => {
    const one = await publish('1', 'one');
    const two = await publish('2', 'two');
    await edit({ kind: 'untag', tags: ['2'] });
    expect(tags()).to.deep.equal({ 1: one });
    expect(existsSync(web('manifests', 'oci', two))).to.equal(true);
    clockMs += 3_600_000;
    await publish('3', 'three');
    expect(existsSync(web('manifests', 'oci', two))).to.equal(false);
  });

  it('removes a repository: its tags at once, its content after the grace period', async () => {
    const one = await publish('1', 'one');
    await edit({ kind: 'remove' });
    expect(tags()).to.deep.equal({});
    expect(sha256(readFileSync(web('manifests', 'oci', one)))).to.equal(one);
    await cleanAll(services);
    expect(existsSync(web())).to.equal(true);
    clockMs += 3_600_000;
    await cleanAll(services);
    for (const place of ['published/web', 'published/app', 'published/master', 'state/history']) {
      expect(readdirSync(join(root, place)), place).to.deep.equal([]);
    }
    await publish('1', 'new');
    expect(Object.keys(tags() ?? {})).to.deep.equal(['1']);
  });

  it('restores a removed repository by a rollback or by a drop', async () => {
    const one = await publish('1', 'one');
    await edit({ kind: 'remove' });
    await edit({ kind: 'rollback', to: undefined });
    expect(tags()).to.deep.equal({ 1: one });
    await edit({ kind: 'remove' });
    const two = await publish('2', 'two');
    expect(tags()).to.deep.equal({ 2: two });
    clockMs += 3_600_000;
    await cleanAll(services);
    expect(tags()).to.deep.equal({ 2: two });
  });

  it('rolls back to different content, past content restored after a removal', async () => {
    const one = await publish('1', 'one');
    const two = await publish('1', 'two');
    await edit({ kind: 'remove' });
    await edit({ kind: 'rollback', to: undefined });
    expect(tags()).to.deep.equal({ 1: two });
    await edit({ kind: 'rollback', to: undefined });
    expect(tags()).to.deep.equal({ 1: one });
    await edit({ kind: 'rollback', to: undefined });
    expect(tags()).to.deep.equal({ 1: two });
  });

  for (const step of ['app/app.json', 'web/app', 'history/app.jsonl', 'master/app']) {
    it(`is not completed when another publish comes in between: before ${step} is removed`, async () => {
      const { roots } = services;
      await publish('1', 'one');
      await edit({ kind: 'remove' });
      clockMs += 3_600_000;
      // Another host, which took the lock over: it flips between two steps of the end.
      const home = join(root, 'published', 'master', 'app');
      const next = toTimestamp(clockMs);
      cpSync(join(home, current()), join(home, next), { recursive: true });
      let hasFlipped = false;
      const disk = interfereWith(nodeDisk, ({ verb, paths }) => {
        const goes = (verb === 'unlink' || verb === 'rename') && paths.includes(`/${step}`);
        if (!goes || hasFlipped) return;
        hasFlipped = true;
        nodeDisk.symlink(`../master/app/${next}`, `${web()}.new`);
        nodeDisk.rename(`${web()}.new`, web());
      });
      const request = { roots, id: 'app' as never, graceMs: 3_600_000, clock: services.clock() };
      finishRemoval(disk, request);
      expect(hasFlipped).to.equal(true);
      // The removal's own rename or unlink may come right after: for the pivot itself nothing helps.
      if (step !== 'web/app') expect(current()).to.equal(next);
      expect(existsSync(join(home, next))).to.equal(true);
    });
  }

  it('is not completed after the lock is lost', async () => {
    const { roots } = services;
    await publish('1', 'one');
    await edit({ kind: 'remove' });
    clockMs += 3_600_000;
    const lockLost = new Int32Array([1]);
    const request = {
      roots,
      id: 'app' as never,
      graceMs: 3_600_000,
      clock: services.clock(),
      lockLost,
    };
    expect(finishRemoval(nodeDisk, request)).to.equal(false);
    expect(existsSync(web())).to.equal(true);
    expect(finishRemoval(nodeDisk, { ...request, lockLost: new Int32Array([0]) })).to.equal(true);
  });

  it('completes on time, though the clock was years ahead at the publish', async () => {
    const nowMs = clockMs;
    clockMs += 10 * 365 * 86_400_000;
    await publish('1', 'one');
    clockMs = nowMs;
    await edit({ kind: 'remove' });
    expect(current() > toTimestamp(nowMs + 86_400_000)).to.equal(true);
    await cleanAll(services);
    expect(existsSync(web())).to.equal(true);
    clockMs += 3_600_000;
    await cleanAll(services);
    expect(existsSync(web())).to.equal(false);
  });

  it('completes an interrupted removal, and spares a repository with a reused pivot', async () => {
    const { roots } = services;
    await publish('1', 'one');
    await edit({ kind: 'remove' });
    clockMs += 3_600_000;
    nodeDisk.unlink(web());
    await cleanAll(services);
    expect(readdirSync(join(root, 'published/master'))).to.deep.equal([]);
    await publish('1', 'one');
    nodeDisk.unlink(web());
    clockMs += 3_600_000 * 2;
    const request = {
      roots,
      id: 'app' as never,
      keep: 3,
      graceMs: 1,
      nowMs: clockMs,
      clock: services.clock(),
    };
    expect((await services.run(planClean, request)).isExpired).to.equal(false);
  });

  it('skips removals, and content of another repository with this id', async () => {
    const one = await publish('1', 'one');
    await edit({ kind: 'remove' });
    await edit({ kind: 'rollback', to: undefined });
    const removed = await refusal(edit({ kind: 'rollback', to: undefined }));
    expect([removed, tags()]).to.deep.equal(['snapshot.unknown', { 1: one }]);
    const strange = '20200101T000000.000Z';
    const home = join(root, 'published', 'master', 'app');
    cpSync(join(home, current()), join(home, strange), { recursive: true });
    const file = join(home, strange, '.snapshot.json');
    overwrite(file, readFileSync(file, 'utf8').replace('"repository": "app"', '"repository": "x"'));
    const foreign = edit({ kind: 'rollback', to: strange as never });
    expect(await refusal(foreign)).to.equal('layout.unsafe');
  });

  it('is not reported as failed when only the sync of its flip failed', async () => {
    const one = await publish('1', 'one');
    await publish('1', 'two');
    await services.close();
    let isFlipped = false;
    const disk = interfereWith(nodeDisk, (operation) => {
      if (operation.verb === 'rename' && operation.paths.endsWith('/web/app')) isFlipped = true;
      const opensWeb = operation.verb === 'open' && /\/web\b[^/]*$/.test(operation.paths);
      if (isFlipped && opensWeb) throw systemError('EIO', operation);
    });
    services = await testServices(root, { disk, yaml: 'retention: {grace: 1h}\n' });
    setClock(services, () => clockMs);
    const result = await edit({ kind: 'rollback', to: undefined });
    expect(result.later).to.have.length(1);
    expect(tags()).to.deep.equal({ 1: one });
  });
});
