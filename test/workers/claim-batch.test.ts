/**
 * Goal: drops claimed together are stored with one wait for the disk. A failure of one drop, in its
 * content or files, does not affect the others; whatever fails during storing, the drops are claimed, no
 * partially stored content gets a name, and unstored drops are left to separate jobs.
 */
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { expect } from 'chai';
import type { RepositoryId } from '#src/image/names.js';
import { claimFile } from '#src/inbox/inbox-paths.js';
import { signatureOf } from '#src/inbox/signature.js';
import { toTimestamp } from '#src/repository/timestamp.js';
import { type ClaimedOne, claimBatch, type DropToClaim } from '#src/staging/claim-batch.js';
import { type Disk, nodeDisk } from '#src/storage/disk.js';
import { contentPath, snapshotPath, workPath } from '#src/storage/tree-paths.js';
import { type DiskOperation, interfereWith, systemError } from '../support/faulty-disk.js';
import { blobPath, layerBytes, makeLayout, sha256, TestContent } from '../support/make-image.js';
import { recordingDisk } from '../support/recording-disk.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';

const TRANSACTION = 'p1x1-1-1';
const ID = 'app' as RepositoryId;

describe('claimBatch', () => {
  let root: string;
  let inbox: string;
  beforeEach(() => {
    root = tempDir();
    inbox = join(root, 'inbox');
    for (const each of ['.claimed', '.receipts', '.rejected']) {
      mkdirSync(join(inbox, each), { recursive: true });
    }
    for (const each of ['state/work', 'published/web']) {
      mkdirSync(join(root, each), { recursive: true });
    }
  });
  afterEach(removeTempDirs);

  const roots = () => ({ published: join(root, 'published'), state: join(root, 'state') });
  /** A drop of one layer; its tag is its name. */
  function drop(name: string, layer = `layer of ${name}`): { path: string; digest: string } {
    const path = join(inbox, name);
    mkdirSync(path);
    return { path, ...makeLayout(path, { layers: [layer], tag: name }) };
  }
  const request = (name: string, change: Partial<DropToClaim> = {}): DropToClaim => ({
    examine: { roots: roots(), inbox, id: ID, path: name, kind: 'directory', tag: undefined },
    take: {
      inbox,
      path: name,
      signature: signatureOf(nodeDisk, join(inbox, name)).signature,
      owner: 'p1x1',
      nowMs: 1000,
      marker: undefined,
    },
    ingest: 'auto',
    ...change,
  });
  const claim = (disk: Disk, drops: readonly DropToClaim[]) => {
    return claimAll(disk, drops).answers.map((each): ClaimedOne => {
      if ('error' in each) throw new Error(`${each.error.message}`);
      return each;
    });
  };
  const claimAll = (disk: Disk, drops: readonly DropToClaim[]) => {
    const given = { roots: roots(), transaction: TRANSACTION, uid: process.getuid?.() ?? 0 };
    return claimBatch(disk, { ...given, drops });
  };
  const failing = (fails: (operation: DiskOperation) => boolean) =>
    interfereWith(nodeDisk, (operation) => {
      if (fails(operation)) throw systemError('EIO', operation);
    });
  const isStored = (digest: string) => existsSync(contentPath(roots(), digest as never));
  const isClaimed = ({ claim }: ClaimedOne) =>
    typeof claim === 'object' && existsSync(join(inbox, '.claimed', claimFile(claim)));
  const hasRoom = () => existsSync(workPath(roots(), TRANSACTION));

  it('claims and stores drops that are complete', () => {
    const given = [drop('one'), drop('two')];
    const answers = claim(nodeDisk, [request('one'), request('two')]);
    for (const [at, answer] of answers.entries()) {
      const { stored } = answer;
      const digest = given[at]?.digest as string;
      expect(isClaimed(answer)).to.equal(true);
      expect(existsSync(given[at]?.path as string)).to.equal(false);
      expect(stored?.content.roots.map((each) => each.digest)).to.deep.equal([digest]);
      expect(stored?.ingested).to.include({ present: 0 });
      const blobs = stored?.content.blobs.map((each) => each.digest) ?? [];
      expect([digest, ...blobs].filter(isStored)).to.have.lengthOf(3);
    }
    expect(hasRoom(), 'what keeps them from being swept').to.equal(true);
  });

  it('gives nothing its final name in the store before all of it is on disk', () => {
    for (const name of ['one', 'two', 'three']) drop(name);
    const { disk, log } = recordingDisk();
    const requests = ['one', 'two', 'three'].map((name) => request(name));
    expect(claim(disk, requests).every(({ stored }) => stored)).to.equal(true);
    const isName = ({ verb, to = '' }: { verb: string; to?: string }) =>
      verb === 'rename' && to.includes('/content/');
    const first = log.findIndex(isName);
    expect(log.filter(isName)).to.have.lengthOf(9);
    const synced = log.slice(0, first).filter(({ verb }) => verb === 'sync');
    const isFile = ({ path }: { path: string }) => path.includes('/blobs/sha256/');
    expect(synced.filter(isFile)).to.have.lengthOf(9);
  });

  it('leaves content with a wrong digest to a separate job, and stores the others', () => {
    drop('good');
    const { path } = drop('bad');
    const layer = layerBytes('layer of bad');
    writeFileSync(blobPath(path, sha256(layer)), Buffer.from(layer).fill('x', layer.length - 1));
    const [bad, good] = claim(nodeDisk, [request('bad'), request('good')]);
    expect([bad, good].map((each) => each && isClaimed(each))).to.deep.equal([true, true]);
    expect(bad?.stored).to.equal(undefined);
    expect(isStored(sha256(layer))).to.equal(false);
    expect(good?.stored?.content.blobs.map(({ digest }) => digest).every(isStored)).to.equal(true);
    expect(readdirSync(workPath(roots(), TRANSACTION))).to.deep.equal([]);
  });

  for (const [what, verb] of [
    ['synced', 'sync'],
    ['named', 'rename'],
  ] as const) {
    it(`leaves each drop to a separate job when they cannot be ${what} together`, () => {
      const given = [drop('one'), drop('two')];
      const fails = (each: DiskOperation) =>
        each.verb === verb && (verb === 'sync' ? hasRoom() : each.paths.includes('/content/'));
      const answers = claim(failing(fails), [request('one'), request('two')]);
      expect(answers.map(isClaimed)).to.deep.equal([true, true]);
      expect(answers.map(({ stored }) => stored)).to.deep.equal([undefined, undefined]);
      expect(given.map(({ digest }) => isStored(digest))).to.deep.equal([false, false]);
      expect(hasRoom()).to.equal(false);
    });
  }

  it('reports a sweep hold that it could not remove', () => {
    drop('one');
    const isRoom = ({ paths }: DiskOperation) =>
      paths.split(' ').includes(workPath(roots(), TRANSACTION));
    const fails = (each: DiskOperation) =>
      isRoom(each) &&
      (each.verb === 'sync' || each.verb === 'open' || each.verb === 'removeDirectory');
    const { answers, isLeft } = claimAll(failing(fails), [request('one')]);
    expect(answers[0]).to.include({ stored: undefined });
    expect({ isLeft, hasRoom: hasRoom() }).to.deep.equal({ isLeft: true, hasRoom: true });
    drop('two');
    expect(claimAll(nodeDisk, [request('two')]).isLeft).to.equal(false);
  });

  it('removes the sweep hold when it could not be made durable', () => {
    drop('one');
    const fails = ({ verb, paths }: DiskOperation) => verb === 'sync' && hasRoom() && paths === '';
    const { isLeft } = claimAll(failing(fails), [request('one')]);
    expect({ isLeft, hasRoom: hasRoom() }).to.deep.equal({ isLeft: false, hasRoom: false });
  });

  it('stores no large drops and no drops reserved for a separate job', () => {
    drop('large', 'x'.repeat(2 * 1024 * 1024));
    drop('other');
    const requests = [request('large'), request('other', { ingest: undefined })];
    const answers = claim(nodeDisk, requests);
    expect(answers.map(isClaimed)).to.deep.equal([true, true]);
    expect(answers.map(({ stored }) => stored)).to.deep.equal([undefined, undefined]);
    expect(existsSync(join(root, 'state', 'content'))).to.equal(false);
    expect(hasRoom()).to.equal(false);
  });

  it('claims no drop that is incomplete or has changed since its examination', () => {
    const { path } = drop('half');
    rmSync(blobPath(path, sha256(layerBytes('layer of half'))));
    const changed = drop('changed');
    const requests = [request('half'), request('changed')];
    writeFileSync(join(changed.path, 'index.json'), readFileSync(join(changed.path, 'index.json')));
    writeFileSync(join(changed.path, 'more'), '');
    const [half, other] = claim(nodeDisk, requests);
    expect(half?.verdict.kind).to.equal('incomplete');
    expect(half?.claim).to.equal(undefined);
    expect(other?.claim).to.equal('changed');
    expect(readdirSync(inbox).sort()).to.include.members(['changed', 'half']);
    expect(existsSync(join(root, 'state', 'content'))).to.equal(false);
  });

  it('returns a drop to the inbox that changed during the claim, and stores nothing of it', () => {
    const { path } = drop('grows');
    let isClaiming = false;
    const disk = interfereWith(nodeDisk, ({ verb, paths }) => {
      if (isClaiming || verb !== 'rename' || !paths.includes('.claimed')) return;
      isClaiming = true;
      writeFileSync(join(path, 'blobs', 'sha256', 'more'), '');
    });
    const [answer] = claim(disk, [request('grows')]);
    expect(isClaiming).to.equal(true);
    expect(answer).to.include({ claim: 'changed', stored: undefined });
    expect(existsSync(join(path, 'blobs', 'sha256', 'more'))).to.equal(true);
    expect(existsSync(join(root, 'state', 'content'))).to.equal(false);
  });

  describe('with a directory replaced by a link or by another directory', () => {
    const name = 'team/app';
    let secret: string;
    beforeEach(() => {
      drop('bait');
      mkdirSync(join(inbox, 'team'));
      renameSync(join(inbox, 'bait'), join(inbox, name));
      secret = join(root, 'secret');
      mkdirSync(join(secret, 'app'), { recursive: true });
      makeLayout(join(secret, 'app'), { layers: ['secret'], tag: 'bait' });
    });
    const stored = () =>
      [layerBytes('secret'), layerBytes('layer of bait')].map(sha256).filter(isStored);

    it('reads nothing through a link', () => {
      const given = request(name);
      renameSync(join(inbox, 'team'), join(inbox, 'aside'));
      symlinkSync(secret, join(inbox, 'team'));
      for (const kind of ['directory', 'file'] as const) {
        const examine = given.examine && { ...given.examine, kind };
        const opened: string[] = [];
        const disk = interfereWith(nodeDisk, ({ paths }) => void opened.push(paths));
        expect(() => claim(disk, [{ ...given, examine }])).to.throw('contains a symbolic link');
        expect(opened.filter((path) => path.includes(secret))).to.deep.equal([]);
      }
    });

    it('stores nothing that was read from anything but the claimed drop', () => {
      const given = request(name);
      const swap = () => {
        renameSync(join(inbox, 'team'), join(inbox, 'aside'));
        renameSync(secret, join(inbox, 'team'));
      };
      swap();
      // It lies there again when it is claimed.
      let isBack = false;
      const disk = interfereWith(nodeDisk, ({ verb, paths }) => {
        if (isBack || verb !== 'rename' || !paths.includes('.claimed')) return;
        isBack = true;
        renameSync(join(inbox, 'team/app'), join(inbox, 'away'));
        renameSync(join(inbox, 'aside/app'), join(inbox, 'team/app'));
      });
      const [answer] = claim(disk, [given]);
      expect(isBack).to.equal(true);
      expect(answer && isClaimed(answer)).to.equal(true);
      expect(answer?.stored, 'its own job reads what was claimed').to.equal(undefined);
      expect(stored()).to.deep.equal([]);
    });

    it('finds nothing when the directory is gone', () => {
      const given = request(name);
      renameSync(join(inbox, 'team'), join(inbox, 'aside'));
      expect(claim(nodeDisk, [given])[0]).to.include({ claim: 'gone', stored: undefined });
    });
  });

  it('claims drops without examining them when they need no examination', () => {
    const { path } = drop('half');
    rmSync(blobPath(path, sha256(layerBytes('layer of half'))));
    const [answer] = claim(nodeDisk, [request('half', { examine: undefined })]);
    expect(answer && isClaimed(answer)).to.equal(true);
    expect(answer?.stored).to.equal(undefined);
  });

  it('reports omitted content of a thin drop as published, and stores the rest', () => {
    const { path, digest } = drop('thin');
    const layer = sha256(layerBytes('layer of thin'));
    const snapshot = toTimestamp(5000);
    const blobs = join(snapshotPath(roots(), ID, snapshot), 'blobs');
    mkdirSync(blobs, { recursive: true });
    const stored = contentPath(roots(), layer as never);
    mkdirSync(dirname(stored), { recursive: true });
    for (const each of [stored, join(blobs, layer)]) {
      writeFileSync(each, readFileSync(blobPath(path, layer)));
    }
    nodeDisk.symlink(`../master/${ID}/${snapshot}`, join(root, 'published', 'web', ID));
    rmSync(blobPath(path, layer));
    const [thin] = claim(nodeDisk, [request('thin')]);
    const expected = thin?.stored?.content.blobs.filter(({ source }) => source === 'published');
    expect(expected?.map((each) => each.digest)).to.deep.equal([layer]);
    expect(nodeDisk.stat(stored).links).to.equal(1);
    expect(isStored(digest)).to.equal(true);
  });

  it('stores a bundle: the names of its images determine the repositories', () => {
    const content = new TestContent();
    const images = ['one', 'two'].map((name) => content.image({ layers: [name] }));
    content.writeLayout(
      join(inbox, '@all'),
      images.map((image, at) => ({ image, tag: `team/app${at}:1` })),
    );
    const given = request('@all');
    const examine = given.examine && { ...given.examine, id: undefined };
    const [answer] = claim(nodeDisk, [{ ...given, examine }]);
    expect(answer && isClaimed(answer)).to.equal(true);
    const names = answer?.stored?.content.roots.map((each) => [each.digest, each.names]);
    expect(names).to.deep.equal(images.map(({ digest }, at) => [digest, [`team/app${at}:1`]]));
    expect(images.every(({ digest }) => isStored(digest))).to.equal(true);
  });

  it('returns the error of an unreadable drop, and stores the others', () => {
    const names = ['one', 'two', 'three'];
    for (const name of names) drop(name);
    const disk = failing(
      ({ verb, paths }) => verb === 'open' && paths.includes('/three/index.json'),
    );
    const { answers } = claimAll(
      disk,
      names.map((name) => request(name)),
    );
    const told = answers.map((each) => ('error' in each ? each.error.fields.code : each.stored));
    expect(told.map((each) => (each === 'EIO' ? each : typeof each))).to.deep.equal([
      ...['object', 'object', 'EIO'],
    ]);
    expect(readdirSync(inbox), 'it is claimed another time').to.include('three');
    expect(readdirSync(workPath(roots(), TRANSACTION))).to.deep.equal([]);
  });

  it('stores a manifest by link if no other user can write it, otherwise by its bytes', () => {
    const names = ['own', 'open', 'kept'];
    const given = names.map((name) => drop(name));
    const manifests = given.map(({ path, digest }) => blobPath(path, digest));
    chmodSync(manifests[1] ?? '', 0o666);
    const inodes = manifests.map((path) => nodeDisk.stat(path).ino);
    const requests = names.map((name) =>
      request(name, { ingest: name === 'kept' ? 'copy' : 'auto' }),
    );
    expect(claim(nodeDisk, requests).every(({ stored }) => stored)).to.equal(true);
    const isSame = given.map(
      ({ digest }, at) => nodeDisk.stat(contentPath(roots(), digest as never)).ino === inodes[at],
    );
    expect(isSame).to.deep.equal([true, false, false]);
  });

  it('stores no manifest whose bytes changed before it got its name', () => {
    const { path, digest } = drop('one');
    const manifest = blobPath(path, digest);
    let isChanged = false;
    const disk = interfereWith(nodeDisk, ({ verb, paths }) => {
      if (verb !== 'link' || isChanged || !paths.includes(basename(manifest))) return;
      isChanged = true;
      const place = join(inbox, '.claimed', readdirSync(join(inbox, '.claimed'))[0] ?? '');
      const own = blobPath(place, digest);
      writeFileSync(own, readFileSync(own).fill(0x20, 1, 2));
    });
    const [answer] = claim(disk, [request('one')]);
    expect(isChanged).to.equal(true);
    expect(answer && isClaimed(answer)).to.equal(true);
    expect(answer?.stored).to.equal(undefined);
    expect(isStored(digest)).to.equal(false);
  });

  it('returns after the first drop when it took long', () => {
    const names = ['one', 'two', 'three'];
    for (const name of names) drop(name);
    const requests = names.map((name) => request(name));
    let isSlow = true;
    const disk = interfereWith(nodeDisk, () => {
      if (!isSlow) return;
      isSlow = false;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 550);
    });
    expect(claim(disk, requests)).to.have.lengthOf(1);
    expect(readdirSync(inbox)).to.include.members(['two', 'three']);
  });
});
