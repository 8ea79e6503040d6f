/**
 * Goal: what is taken together is stored with one wait for the disk; whatever goes wrong with that, the
 * drops are taken, nothing half stored gets a name, and each turn reads what was not stored.
 */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { expect } from 'chai';
import { type Disk, nodeDisk } from '#src/disk/disk.js';
import type { RepositoryId } from '#src/image/names.js';
import { lookAt } from '#src/inbox/look.js';
import { claimFile } from '#src/inbox/paths.js';
import { contentPath, snapshotPath, workPath } from '#src/publish/paths.js';
import { toTimestamp } from '#src/snapshot/timestamp.js';
import { type Examined, type TakeRequest, takeTogether } from '#src/threads/take-together.js';
import { type DiskOperation, interfereWith, systemError } from '../support/faulty-disk.js';
import { blobPath, layerBytes, makeLayout, sha256 } from '../support/make-image.js';
import { recordingDisk } from '../support/recording-disk.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';

const TRANSACTION = 'p1x1-1-1';
const ID = 'app' as RepositoryId;

describe('takeTogether', () => {
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
  const request = (name: string, change: Partial<TakeRequest> = {}): TakeRequest => ({
    examine: { roots: roots(), inbox, id: ID, path: name, kind: 'directory', tag: undefined },
    take: {
      inbox,
      path: name,
      signature: lookAt(nodeDisk, join(inbox, name)).signature,
      owner: 'p1x1',
      nowMs: 1000,
      marker: undefined,
    },
    ingest: 'auto',
    convert: true,
    ...change,
  });
  const take = (disk: Disk, drops: readonly TakeRequest[]) => {
    return takeAll(disk, drops).answers.map((each): Examined => {
      if ('error' in each) throw new Error(`${each.error.message}`);
      return each;
    });
  };
  const takeAll = (disk: Disk, drops: readonly TakeRequest[]) => {
    const given = { roots: roots(), transaction: TRANSACTION, uid: process.getuid?.() ?? 0 };
    return takeTogether(disk, { ...given, drops });
  };
  const failing = (fails: (operation: DiskOperation) => boolean) =>
    interfereWith(nodeDisk, (operation) => {
      if (fails(operation)) throw systemError('EIO', operation);
    });
  const isStored = (digest: string) => existsSync(contentPath(roots(), digest as never));
  const isClaimed = ({ claim }: Examined) =>
    typeof claim === 'object' && existsSync(join(inbox, '.claimed', claimFile(claim)));
  const hasRoom = () => existsSync(workPath(roots(), TRANSACTION));

  it('takes and stores drops that are whole, with the Docker form of their images', () => {
    const given = [drop('one'), drop('two')];
    const answers = take(nodeDisk, [request('one'), request('two')]);
    for (const [at, answer] of answers.entries()) {
      const { early } = answer;
      const digest = given[at]?.digest as string;
      expect(isClaimed(answer)).to.equal(true);
      expect(existsSync(given[at]?.path as string)).to.equal(false);
      expect(early?.content.roots.map((each) => each.digest)).to.deep.equal([digest]);
      expect(early?.base).to.equal(undefined);
      expect(early?.ingested).to.include({ present: 0 });
      const blobs = early?.content.blobs.map((each) => each.digest) ?? [];
      const form = early?.forms.get(digest as never)?.digest as string;
      expect([digest, form, ...blobs].filter(isStored)).to.have.lengthOf(4);
    }
    expect(hasRoom(), 'what keeps them from being swept').to.equal(true);
  });

  it('names nothing in the store before all of it is on disk', () => {
    for (const name of ['one', 'two', 'three']) drop(name);
    const { disk, log } = recordingDisk();
    const requests = ['one', 'two', 'three'].map((name) => request(name, { convert: false }));
    expect(take(disk, requests).every(({ early }) => early)).to.equal(true);
    const isName = ({ verb, to = '' }: { verb: string; to?: string }) =>
      verb === 'rename' && to.includes('/content/');
    const first = log.findIndex(isName);
    expect(log.filter(isName)).to.have.lengthOf(9);
    const synced = log.slice(0, first).filter(({ verb }) => verb === 'sync');
    const isFile = ({ path }: { path: string }) => path.includes('/blobs/sha256/');
    expect(synced.filter(isFile)).to.have.lengthOf(9);
  });

  it('leaves to its turn what is not as its digest says, and stores the others', () => {
    drop('good');
    const { path } = drop('bad');
    const layer = layerBytes('layer of bad');
    writeFileSync(blobPath(path, sha256(layer)), Buffer.from(layer).fill('x', layer.length - 1));
    const [bad, good] = take(nodeDisk, [request('bad'), request('good')]);
    expect([bad, good].map((each) => each && isClaimed(each))).to.deep.equal([true, true]);
    expect(bad?.early).to.equal(undefined);
    expect(isStored(sha256(layer))).to.equal(false);
    expect(good?.early?.content.blobs.map(({ digest }) => digest).every(isStored)).to.equal(true);
    expect(readdirSync(workPath(roots(), TRANSACTION))).to.deep.equal([]);
  });

  for (const [what, verb] of [
    ['synced', 'sync'],
    ['named', 'rename'],
  ] as const) {
    it(`leaves all to their turns where they cannot be ${what}`, () => {
      const given = [drop('one'), drop('two')];
      const fails = (each: DiskOperation) =>
        each.verb === verb && (verb === 'sync' ? hasRoom() : each.paths.includes('/content/'));
      const answers = take(failing(fails), [request('one'), request('two')]);
      expect(answers.map(isClaimed)).to.deep.equal([true, true]);
      expect(answers.map(({ early }) => early)).to.deep.equal([undefined, undefined]);
      expect(given.map(({ digest }) => isStored(digest))).to.deep.equal([false, false]);
      expect(hasRoom()).to.equal(false);
    });
  }

  it('says where it could not remove what keeps the store from being swept', () => {
    drop('one');
    const isRoom = ({ paths }: DiskOperation) =>
      paths.split(' ').includes(workPath(roots(), TRANSACTION));
    const fails = (each: DiskOperation) =>
      isRoom(each) &&
      (each.verb === 'sync' || each.verb === 'open' || each.verb === 'removeDirectory');
    const { answers, isLeft } = takeAll(failing(fails), [request('one')]);
    expect(answers[0]).to.include({ early: undefined });
    expect({ isLeft, hasRoom: hasRoom() }).to.deep.equal({ isLeft: true, hasRoom: true });
    drop('two');
    expect(takeAll(nodeDisk, [request('two')]).isLeft).to.equal(false);
  });

  it('removes what keeps the store from being swept where that could not be made durable', () => {
    drop('one');
    const fails = ({ verb, paths }: DiskOperation) => verb === 'sync' && hasRoom() && paths === '';
    const { isLeft } = takeAll(failing(fails), [request('one')]);
    expect({ isLeft, hasRoom: hasRoom() }).to.deep.equal({ isLeft: false, hasRoom: false });
  });

  it('stores nothing of what is large, or goes elsewhere', () => {
    drop('large', 'x'.repeat(2 * 1024 * 1024));
    drop('elsewhere');
    const requests = [request('large'), request('elsewhere', { ingest: undefined })];
    const answers = take(nodeDisk, requests);
    expect(answers.map(isClaimed)).to.deep.equal([true, true]);
    expect(answers.map(({ early }) => early)).to.deep.equal([undefined, undefined]);
    expect(existsSync(join(root, 'state', 'content'))).to.equal(false);
    expect(hasRoom()).to.equal(false);
  });

  it('takes nothing that is not whole, or has changed since it was looked at', () => {
    const { path } = drop('half');
    rmSync(blobPath(path, sha256(layerBytes('layer of half'))));
    const changed = drop('changed');
    const requests = [request('half'), request('changed')];
    writeFileSync(join(changed.path, 'index.json'), readFileSync(join(changed.path, 'index.json')));
    writeFileSync(join(changed.path, 'more'), '');
    const [half, other] = take(nodeDisk, requests);
    expect(half?.verdict.kind).to.equal('incomplete');
    expect(half?.claim).to.equal(undefined);
    expect(other?.claim).to.equal('changed');
    expect(readdirSync(inbox).sort()).to.include.members(['changed', 'half']);
    expect(existsSync(join(root, 'state', 'content'))).to.equal(false);
  });

  it('gives one back to which something was added while it was taken, and stores nothing of it', () => {
    const { path } = drop('grows');
    let isTaken = false;
    const disk = interfereWith(nodeDisk, ({ verb, paths }) => {
      if (isTaken || verb !== 'rename' || !paths.includes('.claimed')) return;
      isTaken = true;
      writeFileSync(join(path, 'blobs', 'sha256', 'more'), '');
    });
    const [answer] = take(disk, [request('grows')]);
    expect(isTaken).to.equal(true);
    expect(answer).to.include({ claim: 'changed', early: undefined });
    expect(existsSync(join(path, 'blobs', 'sha256', 'more'))).to.equal(true);
    expect(existsSync(join(root, 'state', 'content'))).to.equal(false);
  });

  describe('where a directory on the way is swapped for a link, or for another', () => {
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

    it('reads nothing that a link leads to', () => {
      const given = request(name);
      renameSync(join(inbox, 'team'), join(inbox, 'aside'));
      symlinkSync(secret, join(inbox, 'team'));
      for (const kind of ['directory', 'file'] as const) {
        const examine = given.examine && { ...given.examine, kind };
        const opened: string[] = [];
        const disk = interfereWith(nodeDisk, ({ paths }) => void opened.push(paths));
        expect(() => take(disk, [{ ...given, examine }])).to.throw('leads through a link');
        expect(opened.filter((path) => path.includes(secret))).to.deep.equal([]);
      }
    });

    it('stores nothing of what was read instead of what was taken', () => {
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
      const [answer] = take(disk, [given]);
      expect(isBack).to.equal(true);
      expect(answer && isClaimed(answer)).to.equal(true);
      expect(answer?.early, 'its turn reads what was taken').to.equal(undefined);
      expect(stored()).to.deep.equal([]);
    });

    it('finds nothing where it is gone', () => {
      const given = request(name);
      renameSync(join(inbox, 'team'), join(inbox, 'aside'));
      expect(take(nodeDisk, [given])[0]).to.include({ claim: 'gone', early: undefined });
    });
  });

  it('takes as it is what is not to be examined', () => {
    const { path } = drop('half');
    rmSync(blobPath(path, sha256(layerBytes('layer of half'))));
    const [answer] = take(nodeDisk, [request('half', { examine: undefined })]);
    expect(answer && isClaimed(answer)).to.equal(true);
    expect(answer?.early).to.equal(undefined);
  });

  it('remembers which snapshot holds what a thin drop leaves out', () => {
    const { path } = drop('thin');
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
    const [thin] = take(nodeDisk, [request('thin')]);
    expect(thin?.early?.base).to.equal(snapshot);
    expect(nodeDisk.stat(stored).links).to.equal(1);
  });

  it('answers for the first of them where these took long', () => {
    const names = ['one', 'two', 'three'];
    for (const name of names) drop(name);
    const requests = names.map((name) => request(name));
    let isSlow = true;
    const disk = interfereWith(nodeDisk, () => {
      if (!isSlow) return;
      isSlow = false;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 550);
    });
    expect(take(disk, requests)).to.have.lengthOf(1);
    expect(readdirSync(inbox)).to.include.members(['two', 'three']);
  });
});
