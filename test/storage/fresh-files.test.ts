/**
 * Goal: files written together are on disk when this is reported: each is synced or, for a large batch,
 * the whole filesystem once; if that is impossible or fails, each file is synced.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { type Disk, nodeDisk } from '#src/storage/disk.js';
import { FreshFiles, SYNCED_EACH_MAX } from '#src/storage/fresh-files.js';
import { ingestAllBytes } from '#src/storage/into-store.js';
import { recordingDisk } from '../support/recording-disk.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';

const MANY = SYNCED_EACH_MAX + 1;

describe('FreshFiles', () => {
  let place: string;
  beforeEach(() => {
    place = tempDir();
  });
  afterEach(removeTempDirs);

  /** @returns what was done, each synced path, and how often the whole filesystem was */
  const write = (count: number, syncFilesystem: Disk['syncFilesystem']) => {
    const { disk, log } = recordingDisk();
    let barriers = 0;
    const watched: Disk = {
      ...disk,
      syncFilesystem: (path) => {
        barriers++;
        expect(log.filter(({ verb }) => verb === 'create').length).to.equal(count);
        return syncFilesystem(path);
      },
    };
    FreshFiles.use(watched, { place, expected: count }, (files) => {
      for (let n = 0; n < count; n++) {
        files.write(join(place, String(n)), Buffer.from('x'), { mode: 0o444, mtime: 7 });
      }
    });
    const synced = new Set(log.filter(({ verb }) => verb === 'sync').map(({ path }) => path));
    return { synced: synced.size, barriers };
  };
  const openDescriptors = () => readdirSync('/proc/self/fd').length;

  it('syncs each file of a small batch, without delaying other processes', () => {
    const before = openDescriptors();
    const all = (count: number) => write(count, () => expect.fail('the filesystem'));
    expect(all(40)).to.deep.equal({ synced: 40, barriers: 0 });
    expect(openDescriptors()).to.equal(before);
    expect(nodeDisk.stat(join(place, '39'))).to.include({ mode: 0o444, size: 1, mtimeMs: 7000 });
  });

  it('syncs the filesystem once for a large batch', () => {
    expect(write(MANY, nodeDisk.syncFilesystem)).to.deep.equal({ synced: 0, barriers: 1 });
  });

  it('syncs each file of a large batch when that fails', () => {
    const before = openDescriptors();
    expect(write(MANY, () => false)).to.deep.equal({ synced: MANY, barriers: 1 });
    expect(openDescriptors()).to.equal(before);
  });

  it('reports a failed filesystem sync', () => {
    expect(nodeDisk.syncFilesystem(join(place, 'nothing'))).to.equal(false);
    expect(nodeDisk.syncFilesystem(place)).to.equal(true);
  });

  it('leaves no open files and no temporary files in the store when a sync fails', () => {
    const before = openDescriptors();
    const failing: Disk = {
      ...nodeDisk,
      syncFilesystem: () => false,
      sync: () => {
        throw Object.assign(new Error('EIO'), { code: 'EIO' });
      },
    };
    for (const count of [3, 40, MANY]) {
      const items = Array.from({ length: count }, (_, n) => ({
        bytes: Buffer.from(String(n)),
        destination: join(place, 'store', String(n)),
      }));
      expect(() => ingestAllBytes(failing, items, place)).to.throw('EIO');
      expect(readdirSync(place), String(count)).to.deep.equal([]);
      expect(openDescriptors()).to.equal(before);
    }
  });
});
