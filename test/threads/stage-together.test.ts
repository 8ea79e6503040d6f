/**
 * Goal: directories that are read together are stored with one wait for the disk, and whatever becomes
 * of one of them, its content or its files, holds back none of the others.
 */
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { expect } from 'chai';
import { type Disk, nodeDisk } from '#src/disk/disk.js';
import type { RepositoryId } from '#src/image/names.js';
import type { DropToPublish, StageAnswer } from '#src/publish/drop.js';
import { contentPath, workPath } from '#src/publish/paths.js';
import { toTimestamp } from '#src/snapshot/timestamp.js';
import { stageTogether } from '#src/threads/stage.js';
import { type DiskOperation, interfereWith, systemError } from '../support/faulty-disk.js';
import { blobPath, layerBytes, makeLayout, sha256 } from '../support/make-image.js';
import { recordingDisk } from '../support/recording-disk.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';

const TRANSACTION = 'p1x1-1-1';

describe('stageTogether', () => {
  let root: string;
  beforeEach(() => {
    root = tempDir();
  });
  afterEach(removeTempDirs);

  const roots = () => ({ published: join(root, 'published'), state: join(root, 'state') });
  const drops = ['one', 'two', 'three'];
  function given(): (DropToPublish & { readonly digest: string })[] {
    mkdirSync(workPath(roots(), TRANSACTION), { recursive: true });
    return drops.map((name) => {
      const path = join(root, name);
      mkdirSync(path);
      const { digest } = makeLayout(path, { layers: [`layer of ${name}`], tag: name });
      const how = {
        tag: undefined,
        tolerateAbsent: true,
        ingest: 'auto',
        compress: 'none',
      } as const;
      return { name, path, kind: 'directory', at: toTimestamp(0), ...how, digest };
    });
  }
  const stage = (disk: Disk, all: readonly DropToPublish[]) =>
    stageTogether(disk, {
      roots: roots(),
      id: 'app' as RepositoryId,
      base: null,
      transaction: TRANSACTION,
      uid: process.getuid?.() ?? 0,
      drops: all,
    });
  const codes = (answers: readonly StageAnswer[]) =>
    answers.map((each) => ('error' in each ? each.error.fields.code : 'stored'));
  const failing = (fails: (operation: DiskOperation) => boolean) =>
    interfereWith(nodeDisk, (operation) => {
      if (fails(operation)) throw systemError('EIO', operation);
    });
  const isBelow = (path: string) =>
    path.includes(`/work/${TRANSACTION}/`) || path.includes('/blobs/');
  const isStored = (digest: string) =>
    nodeDisk.stat(contentPath(roots(), digest as never)).kind === 'file';

  it('names nothing in the store before all of it is on disk', () => {
    const { disk, log } = recordingDisk();
    const all = given();
    expect(codes(stage(disk, all))).to.deep.equal(['stored', 'stored', 'stored']);
    const named = ({ verb, to }: { verb: string; to?: string }) =>
      verb === 'rename' && to?.includes('/content/');
    const first = log.findIndex(named);
    expect(log.filter(named)).to.have.lengthOf(9);
    const written = log.slice(0, first).filter(({ verb }) => verb === 'sync');
    expect(written.filter(({ path }) => isBelow(path))).to.have.lengthOf(9);
    for (const { digest } of all) expect(isStored(digest)).to.equal(true);
  });

  it('refuses one whose bytes are wrong, and stores the others', () => {
    const all = given();
    const [, two] = all;
    const good = layerBytes('layer of two');
    const wrong = Buffer.from(good).fill('x', good.length - 1);
    writeFileSync(blobPath(two?.path ?? '', sha256(good)), wrong);
    expect(codes(stage(nodeDisk, all))).to.deep.equal(['stored', 'digest.mismatch', 'stored']);
    expect(nodeDisk.list(workPath(roots(), TRANSACTION))).to.deep.equal([]);
  });

  it('tries one again that cannot be read, and stores the others', () => {
    const disk = failing(
      ({ verb, paths }) => verb === 'open' && paths.includes('/three/index.json'),
    );
    expect(codes(stage(disk, given()))).to.deep.equal(['stored', 'stored', 'EIO']);
  });

  it('stores each for itself when they cannot be synced together', () => {
    let syncs = 0;
    const disk = failing(({ verb }) => verb === 'sync' && ++syncs === 1);
    expect(codes(stage(disk, given()))).to.deep.equal(['stored', 'stored', 'stored']);
    expect(nodeDisk.list(workPath(roots(), TRANSACTION))).to.deep.equal([]);
  });

  it('stores the very manifest where nobody else can write it, and its bytes otherwise', () => {
    const [own, open, kept] = given();
    if (!own || !open || !kept) throw new Error('three drops');
    const manifestOf = ({ path, digest }: typeof own) => blobPath(path, digest);
    chmodSync(manifestOf(open), 0o666);
    const all = [own, open, { ...kept, ingest: 'copy' as const }];
    expect(codes(stage(nodeDisk, all))).to.deep.equal(['stored', 'stored', 'stored']);
    const isSame = (drop: typeof own) =>
      nodeDisk.stat(manifestOf(drop)).ino ===
      nodeDisk.stat(contentPath(roots(), drop.digest as never)).ino;
    expect([own, open, kept].map(isSame)).to.deep.equal([true, false, false]);
  });

  it('refuses a manifest whose bytes are others by the time it has its name', () => {
    const [one] = given();
    if (!one) throw new Error('a drop');
    const manifest = blobPath(one.path, one.digest);
    let isChanged = false;
    const disk = interfereWith(nodeDisk, ({ verb, paths }) => {
      if (verb !== 'link' || isChanged || !paths.includes(basename(manifest))) return;
      isChanged = true;
      const bytes = readFileSync(manifest);
      writeFileSync(manifest, bytes.fill(0x20, 1, 2));
    });
    expect(codes(stage(disk, [one]))).to.deep.equal(['digest.mismatch']);
    expect(isChanged).to.equal(true);
    expect(() => isStored(one.digest)).to.throw('ENOENT');
  });
});
