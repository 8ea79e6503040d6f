import { existsSync, mkdirSync, readdirSync, rmdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import {
  hasKernelLocks,
  isUnlocked,
  type KernelLock,
  tryKernelLock,
} from '#src/storage/kernel-lock.js';
import { lockFileSystem } from '#src/storage/lock-files.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';

describe('the kernel lock', () => {
  let path: string;
  const take = (): KernelLock => {
    const lock = tryKernelLock(path, true);
    if (typeof lock === 'string') throw new Error(lock);
    return lock;
  };

  before(function () {
    if (!hasKernelLocks) this.skip();
  });
  beforeEach(() => {
    path = join(tempDir(), 'lock');
  });
  afterEach(removeTempDirs);

  it('has one holder, also within one process', () => {
    const lock = take();
    expect(tryKernelLock(path, true)).to.equal('busy');
    expect(isUnlocked(path)).to.equal(false);
    lock.release();
    expect(isUnlocked(path)).to.equal(true);
    take().release();
  });

  it('is not affected by a process that tests it', () => {
    const lock = take();
    isUnlocked(path);
    tryKernelLock(path, true);
    lock.release();
  });

  it('leaves no open descriptor', () => {
    const open = () => readdirSync('/proc/self/fd').length;
    const earlier = open();
    const lock = take();
    tryKernelLock(path, true);
    isUnlocked(path);
    lock.release();
    expect(open()).to.equal(earlier);
  });

  it('is never acquired through a link', () => {
    symlinkSync('elsewhere', path);
    expect(() => tryKernelLock(path, true)).to.throw('ELOOP');
  });

  it('counts as free when its directory is gone', () => {
    expect(isUnlocked(join(path, 'none'))).to.equal(true);
  });
});

describe('the files of a shared lock', () => {
  const MINE = { boot: 'this-kernel', owner: 'p1x1' };
  let lock: string;
  let holder: string;
  const make = (boot: string) =>
    new Promise<Error | null>((resolve) => {
      const fs = lockFileSystem.with(holder, { boot, owner: 'p1x1' }) as unknown as {
        mkdir(path: string, done: (error: Error | null) => void): void;
      };
      fs.mkdir(lock, resolve);
    });

  beforeEach(() => {
    const root = tempDir();
    lock = join(root, 'app.held');
    holder = join(root, 'app.holder');
  });
  afterEach(removeTempDirs);

  it('record the holder of the lock, and its kernel', async () => {
    expect(await make('this-kernel')).to.equal(null);
    expect(lockFileSystem.holderOf(lock, holder)).to.deep.equal(MINE);
  });

  it('return no note for a lock that another process created meanwhile', async () => {
    await make('this-kernel');
    rmdirSync(lock);
    mkdirSync(lock);
    expect(lockFileSystem.holderOf(lock, holder)).to.equal(undefined);
  });

  it('return no note when none was written, or the lock is gone', async () => {
    mkdirSync(lock);
    expect(lockFileSystem.holderOf(lock, holder)).to.equal(undefined);
    rmdirSync(lock);
    await make('this-kernel');
    rmdirSync(lock);
    expect(lockFileSystem.holderOf(lock, holder)).to.equal(undefined);
  });

  it('keep the note of the holder when another process tries to take the lock', async () => {
    await make('this-kernel');
    const error = await make('another');
    expect((error as { code?: string } | null)?.code).to.equal('EEXIST');
    expect(lockFileSystem.holderOf(lock, holder)).to.deep.equal(MINE);
  });

  it('are written when the lock is acquired, and renewed without waiting', async () => {
    const fs = lockFileSystem.with(holder, { boot: 'this-kernel', owner: 'p1x1' });
    const seen: string[] = [];
    const then = new Date(1_000_000_000_005);
    fs.mkdir(lock, (error) => seen.push(`made ${error}`));
    fs.utimes(lock, then, then, (error) => seen.push(`touched ${error}`));
    fs.stat(lock, (_error, stat) => seen.push(`looked ${stat.mtime.getTime()}`));
    expect(seen).to.deep.equal(['made null', 'touched null', `looked ${then.getTime()}`]);
    const later = new Promise<number>((resolve) => {
      fs.utimes(lock, 2, 2, () => {
        seen.push('touched later');
        fs.stat(lock, (_error, stat) => resolve(stat.mtimeMs));
      });
    });
    expect(seen).not.to.include('touched later');
    expect(await later).to.equal(2000);
    const failed = lockFileSystem.with(holder, { boot: 'this-kernel', owner: 'p1x1' });
    const codes: (string | undefined)[] = [];
    failed.stat(join(lock, 'none'), (error) => codes.push(error?.code));
    expect(codes).to.deep.equal(['ENOENT']);
  });

  it('are removed, also by two processes at once', () => {
    mkdirSync(lock);
    lockFileSystem.remove(lock);
    lockFileSystem.remove(lock);
    expect(existsSync(lock)).to.equal(false);
  });

  it('are not removed when the directory has other content', () => {
    mkdirSync(lock);
    writeFileSync(join(lock, 'file'), '');
    expect(() => lockFileSystem.remove(lock)).to.throw('ENOTEMPTY');
  });
});
