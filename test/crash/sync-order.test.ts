/**
 * Goal: after a power cut the pivot leads to a complete snapshot (I1, I2). A rename is neither durable
 * nor ordered after the content it names, so everything must be synced before the flip, and the flip
 * afterwards. Method: record the disk operations of a publish, and check their order.
 */
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect } from 'chai';
import { prepareInbox } from '#src/inbox/claim.js';
import { deliver, dropPath, prepareSweep, SWEPT_DROP, SWEPT_ID } from '../support/deliver.js';
import { makeLayout } from '../support/make-image.js';
import { type Recorded, recordingDisk } from '../support/recording-disk.js';
import { testServices } from '../support/service.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';

describe('sync order of a publish', () => {
  let log: Recorded[];
  let root: string;
  let flip: number;
  let birth: number;

  before(async () => {
    ({ root } = await prepareSweep());
    const recording = recordingDisk();
    log = recording.log;
    const services = await testServices(root, { disk: recording.disk });
    log.length = 0;
    await deliver(services, SWEPT_DROP);
    await services.close();
    flip = indexOf(
      ({ verb, to }) => verb === 'rename' && to === join(root, 'published/web', SWEPT_ID),
    );
    birth = indexOf(
      ({ verb, to }) =>
        verb === 'rename' && to?.startsWith(join(root, 'published/master', SWEPT_ID)) === true,
    );
  });

  after(removeTempDirs);

  const indexOf = (test: (recorded: Recorded) => boolean) => log.findIndex(test);
  const syncedBetween = (path: string, from: number, to: number) =>
    log.slice(from, to).some((each) => each.verb === 'sync' && each.path === path);

  it('builds the snapshot, renames it to its final name, then flips', () => {
    expect(birth).to.be.greaterThan(0);
    expect(flip).to.be.greaterThan(birth);
  });

  it('syncs every file of the snapshot before renaming it to its final name', () => {
    const made = log
      .slice(0, birth)
      .map((each, at) => ({ ...each, at }))
      .filter(({ verb, path }) => verb === 'create' && path.includes('/tree/'));
    expect(made.length).to.be.greaterThan(3);
    for (const { path, at } of made) expect(syncedBetween(path, at, birth), path).to.equal(true);
  });

  it('syncs every directory of the snapshot after its last entry and before its final name', () => {
    const tree = log[birth]?.path ?? '';
    const directories = log.filter(
      ({ verb, path }) => verb === 'mkdir' && (path === tree || path.startsWith(`${tree}/`)),
    );
    expect(directories.length).to.be.greaterThan(4);
    for (const { path } of directories) {
      const last = log.findLastIndex(
        (each, at) =>
          at < birth &&
          ['create', 'mkdir', 'link'].includes(each.verb) &&
          dirname(each.path) === path,
      );
      expect(syncedBetween(path, last, birth), path).to.equal(true);
    }
  });

  it('syncs every blob in the store, and its directory, before the flip', () => {
    const stored = log
      .map((each, at) => ({ ...each, at }))
      .filter(({ verb, to }) => verb === 'rename' && to?.includes('/state/content/') === true);
    expect(stored.length).to.be.greaterThan(2);
    for (const { path, to = '', at } of stored) {
      const linked = log.find((each) => each.verb === 'link' && each.path === path);
      const written = linked ? (linked.to ?? '') : path;
      const isSynced = log
        .slice(0, at)
        .some((each) => each.verb === 'sync' && sameFile(each.path, written));
      expect(isSynced, `${written} before ${to}`).to.equal(true);
      expect(syncedBetween(dirname(to), at, birth), dirname(to)).to.equal(true);
    }
  });

  it('syncs the snapshots directory before the flip, and web/ after the flip', () => {
    expect(syncedBetween(join(root, 'published/master', SWEPT_ID), birth, flip)).to.equal(true);
    const end = indexOf(({ verb, to }) => verb === 'rename' && to?.includes('/app/') === true);
    expect(syncedBetween(join(root, 'published/web'), flip, end)).to.equal(true);
    expect(syncedBetween(join(root, 'published/app'), end, log.length)).to.equal(true);
  });

  it('syncs master/ before the first flip, even if the directory of the repository exists', async () => {
    const fresh = tempDir();
    const recording = recordingDisk();
    const services = await testServices(fresh, { disk: recording.disk });
    await services.run(prepareInbox, { inbox: services.inbox });
    makeLayout(dropPath(fresh, 'app:1'));
    // Its creator died before it synced master/.
    mkdirSync(join(fresh, 'published/master/app'), { recursive: true });
    recording.log.length = 0;
    await deliver(services, 'app:1');
    await services.close();
    const isIn =
      (place: string) =>
      (path = '') =>
        path === join(fresh, 'published', place);
    const flipped = recording.log.findIndex(({ to }) => isIn('web/app')(to));
    const synced = recording.log.findIndex(
      ({ verb, path }) => verb === 'sync' && isIn('master')(path),
    );
    expect(synced).to.be.within(0, flipped);
  });

  it('syncs web/ before it reports "unchanged", as a crash may have undone a flip', async () => {
    const recording = recordingDisk();
    const services = await testServices(root, { disk: recording.disk });
    makeLayout(dropPath(root, SWEPT_DROP), { layers: ['base', 'new'] });
    const outcome = await deliver(services, SWEPT_DROP);
    await services.close();
    expect(outcome?.status).to.equal('unchanged');
    const web = join(root, 'published/web');
    const synced = recording.log.findIndex(({ verb, path }) => verb === 'sync' && path === web);
    const named = recording.log.findIndex(({ to }) => to?.includes('/.receipts/'));
    expect(synced).to.be.within(0, named);
  });

  it('writes and syncs the receipt before it removes the claim', () => {
    const named = indexOf(
      ({ verb, to }) => verb === 'rename' && to?.includes('/.receipts/') === true,
    );
    const gone = indexOf(({ verb, to }) => verb === 'rename' && to?.includes('/.done-') === true);
    expect(named).to.be.greaterThan(flip);
    expect(gone).to.be.greaterThan(named);
    expect(syncedBetween(log[named]?.path ?? '', 0, named)).to.equal(true);
    expect(syncedBetween(join(root, 'inbox/.receipts'), named, gone)).to.equal(true);
  });
});

/** A file in the drop is opened through /proc/self/fd, so only its name tells. */
function sameFile(opened: string, written: string): boolean {
  return opened === written || opened.split('/').at(-1) === written.split('/').at(-1);
}
