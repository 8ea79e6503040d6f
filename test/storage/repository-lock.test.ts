import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, rmdirSync, utimesSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { parseRepositoryId } from '#src/image/names.js';
import { hasKernelLocks } from '#src/storage/kernel-lock.js';
import { lockFileSystem } from '#src/storage/lock-files.js';
import { freeLocksOf, lockRepository, type RepositoryLock } from '#src/storage/repository-lock.js';
import {
  lockHolderPath,
  locksDirectory,
  sharedLockPath,
  type TreeRoots,
} from '#src/storage/tree-paths.js';
import { refusalOf } from '../support/refusal.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { waitFor } from '../support/wait-for.js';

const ID = parseRepositoryId('team~app');
const LOCK_CHILD = fileURLToPath(new URL('./lock-child.js', import.meta.url));

describe('lockRepository', () => {
  let roots: TreeRoots;
  let child: ChildProcess | undefined;
  const held = new Set<RepositoryLock>();

  beforeEach(() => {
    const root = tempDir();
    roots = { published: join(root, 'published'), state: join(root, 'state') };
    mkdirSync(locksDirectory(roots), { recursive: true });
  });
  afterEach(async () => {
    child?.kill('SIGKILL');
    child = undefined;
    for (const lock of [...held]) await release(lock);
    removeTempDirs();
  });

  const lock = async (
    given: {
      waitMs?: number;
      staleMs?: number;
      kernel?: boolean;
      owner?: string;
      signal?: AbortSignal;
    } = {},
    id = ID,
  ) => {
    const taken = await lockRepository(roots, id, {
      staleMs: 2000,
      waitMs: 0,
      kernel: true,
      owner: 'p1x1',
      ...given,
    });
    held.add(taken);
    return taken;
  };
  const release = async (taken: RepositoryLock) => {
    held.delete(taken);
    await taken.release();
  };
  const startChild = async () => {
    const started = spawn(process.execPath, [LOCK_CHILD, roots.published, roots.state, ID]);
    child = started;
    const [said] = (await once(started.stdout, 'data')) as [Buffer];
    expect(String(said)).to.equal('locked\n');
    return started;
  };

  it('has one holder at a time: lock.busy', async () => {
    const first = await lock();
    const error = await refusalOf(lock());
    expect(error).to.include({ code: 'lock.busy', fault: 'system' });
    await release(first);
    await lock();
  });

  it('reports once to a waiter that the lock is held longer than a dead holder could', async () => {
    const first = await lock();
    let said = 0;
    const waiting = lockRepository(roots, ID, {
      staleMs: 50,
      waitMs: Number.POSITIVE_INFINITY,
      kernel: true,
      owner: 'p1x1',
      onBusy: () => void said++,
    });
    await waitFor('it to be said', () => said > 0);
    const beganMs = performance.now();
    await waitFor('ten times as long', () => performance.now() - beganMs > 500);
    expect(said).to.equal(1);
    await release(first);
    held.add(await waiting);
  });

  it('leaves a readable note about its holder', async () => {
    await lock();
    const note = readFileSync(lockHolderPath(roots, ID), 'utf8');
    expect(note).to.contain(`host ${hostname()} pid ${process.pid}`);
  });

  it('is separate for each repository', async () => {
    await lock();
    await lock({}, parseRepositoryId('other'));
  });

  it('is acquired by all waiters, one after the other', async () => {
    let inside = 0;
    let most = 0;
    const turns = Array.from({ length: 5 }, async () => {
      const taken = await lock({ waitMs: 15_000 });
      most = Math.max(most, ++inside);
      await new Promise((resolve) => setImmediate(resolve));
      inside--;
      await release(taken);
    });
    await Promise.all(turns);
    expect(most).to.equal(1);
  });

  it('stops waiting on request: lock.busy', async () => {
    await lock();
    const stop = new AbortController();
    const waiting = refusalOf(lock({ waitMs: Number.POSITIVE_INFINITY, signal: stop.signal }));
    stop.abort();
    expect((await waiting).code).to.equal('lock.busy');
  });

  it('excludes another process, and is free at once when that process is killed', async function () {
    if (!hasKernelLocks) return this.skip();
    const holder = await startChild();
    expect((await refusalOf(lock())).code).to.equal('lock.busy');
    holder.kill('SIGKILL');
    await once(holder, 'exit');
    // Its directory is still there, and would be for ten minutes: its kernel knows better.
    expect(existsSync(sharedLockPath(roots, ID))).to.equal(true);
    await lock({ staleMs: 600_000 });
  });

  it('is kept by a paused process, for any time', async function () {
    if (!hasKernelLocks) return this.skip();
    const holder = await startChild();
    holder.kill('SIGSTOP');
    expect((await refusalOf(lock({ waitMs: 100 }))).code).to.equal('lock.busy');
    holder.kill('SIGCONT');
  });

  it('respects the lock of another host, of which only the directory is visible', async () => {
    mkdirSync(sharedLockPath(roots, ID));
    expect((await refusalOf(lock({ staleMs: 600_000 }))).code).to.equal('lock.busy');
    rmdirSync(sharedLockPath(roots, ID));
    await lock();
  });

  for (const seconds of [1, 4_000_000_000]) {
    it(`is taken over after an observed silence, whatever its file time (${seconds})`, async () => {
      const path = sharedLockPath(roots, ID);
      mkdirSync(path);
      utimesSync(path, seconds, seconds);
      expect((await refusalOf(lock({ waitMs: 100 }))).code).to.equal('lock.busy');
      const beganMs = performance.now();
      const beat = setTimeout(() => utimesSync(path, seconds, seconds + 1), 1000);
      await lock({ waitMs: 15_000, kernel: false });
      clearTimeout(beat);
      // A sign of life after one second, and silence for two.
      expect(performance.now() - beganMs).to.be.within(2900, 5000);
    });
  }

  it('of a process known to be dead is free at once', async () => {
    const holder = { boot: 'another-kernel', owner: 'p2x2' };
    const { mkdir } = lockFileSystem.with(lockHolderPath(roots, ID), holder);
    mkdir(sharedLockPath(roots, ID), () => {});
    freeLocksOf(roots, ['p3x3']);
    expect((await refusalOf(lock())).code).to.equal('lock.busy');
    freeLocksOf(roots, ['p2x2', 'p3x3']);
    await lock();
  });

  it('reports its loss when its directory is removed, and can then be released', async () => {
    const taken = await lock();
    expect(Atomics.load(taken.lost, 0)).to.equal(0);
    rmdirSync(sharedLockPath(roots, ID));
    await waitFor('the loss to be noticed', () => Atomics.load(taken.lost, 0) !== 0);
    await release(taken);
    await lock();
  });

  it('does not remove another process’s lock after its own was lost', async () => {
    const taken = await lock();
    rmdirSync(sharedLockPath(roots, ID));
    await waitFor('the loss to be noticed', () => Atomics.load(taken.lost, 0) !== 0);
    mkdirSync(sharedLockPath(roots, ID));
    await release(taken);
    expect(existsSync(sharedLockPath(roots, ID))).to.equal(true);
  });

  it('leaves nothing behind that locks out other processes', async () => {
    await release(await lock());
    expect(existsSync(sharedLockPath(roots, ID))).to.equal(false);
  });
});
