/**
 * Goal: files added to the store together are written and synced before any of them gets its name, the
 * directories of these names are synced once, and a failed caller undoes only its own files.
 */
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { expect } from 'chai';
import { type Disk, nodeDisk } from '#src/storage/disk.js';
import { IntoStore } from '#src/storage/into-store.js';
import { interfereWith, systemError } from '../support/faulty-disk.js';
import { recordingDisk } from '../support/recording-disk.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';

describe('IntoStore', () => {
  let root: string;
  let place: string;
  beforeEach(() => {
    root = tempDir();
    place = join(root, 'work');
    mkdirSync(place);
  });
  afterEach(removeTempDirs);

  const item = (name: string) => ({
    bytes: Buffer.from(name),
    destination: join(root, 'content', name.slice(0, 2), name),
  });
  const bring = (disk: Disk, names: readonly string[]) =>
    IntoStore.use(disk, { place, expected: names.length }, (into) =>
      names.map((name) => into.bytes(item(name))),
    );

  it('syncs all files, renames all to their names, and syncs each directory once', () => {
    const { disk, log } = recordingDisk();
    expect(bring(disk, ['aa1', 'aa2', 'bb1'])).to.deep.equal(['copied', 'copied', 'copied']);
    const order = log
      .filter(({ verb, path }) => verb === 'rename' || (verb === 'sync' && path !== root))
      .map(
        ({ verb, path, to }) =>
          `${verb} ${basename(verb === 'rename' ? (to ?? '') : dirname(path))}`,
      );
    expect(order.slice(0, 3)).to.deep.equal(['sync work', 'sync work', 'sync work']);
    const renames = order.flatMap((each, at) => (each.startsWith('rename') ? [at] : []));
    expect(renames).to.have.lengthOf(3);
    const last = log.slice(log.findLastIndex(({ verb }) => verb === 'rename') + 1);
    expect(last.map(({ verb, path }) => `${verb} ${basename(path)}`)).to.deep.equal([
      'sync aa',
      'sync bb',
    ]);
    expect(bring(nodeDisk, ['aa1'])).to.deep.equal(['present']);
  });

  it('removes only the files of the failed caller', () => {
    IntoStore.use(nodeDisk, { place, expected: 3 }, (into) => {
      into.together(() => into.bytes(item('aa1')));
      expect(() =>
        into.together(() => {
          into.bytes(item('bb1'));
          throw new Error('refused');
        }),
      ).to.throw('refused');
      into.together(() => into.bytes(item('cc1')));
      expect(readdirSync(place)).to.have.lengthOf(2);
    });
    expect(readdirSync(place)).to.deep.equal([]);
    expect(['aa1', 'bb1', 'cc1'].map((name) => existsSync(item(name).destination))).to.deep.equal([
      true,
      false,
      true,
    ]);
  });

  for (const verb of ['write', 'sync', 'rename'] as const) {
    it(`leaves no temporary files when ${verb} fails`, () => {
      let count = 0;
      const disk = interfereWith(nodeDisk, (operation) => {
        if (operation.verb === verb && ++count === 2) throw systemError('EIO', operation);
      });
      expect(() => bring(disk, ['aa1', 'aa2', 'aa3'])).to.throw('EIO');
      expect(readdirSync(place)).to.deep.equal([]);
    });
  }
});
