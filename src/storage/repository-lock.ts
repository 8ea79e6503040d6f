/**
 * Allows one publish per repository at a time. It consists of two locks:
 *
 * - the kernel's, exact on one host, held through SIGSTOP and released when the process dies;
 * - the directory of proper-lockfile, which works across hosts and is kept fresh by a heartbeat.
 *
 * Whether a holder on another host is dead is decided by watching its directory for some time, not by
 * comparing its times with a clock: clocks of hosts may differ by hours.
 *
 * The lock gives no full guarantee: across hosts a stale directory lock can be taken twice (measured: 13 of
 * 60 rounds), and a release deletes the directory even if another process made it. So safety rests not on the
 * lock but on the flip (flip.ts). Losing the lock aborts the publish (`lost`).
 */
import { setTimeout as delay } from 'node:timers/promises';
import properLockfile from 'proper-lockfile';
import { DropdockError } from '../errors.js';
import type { RepositoryId } from '../image/names.js';
import { type KernelLock, tryKernelLock } from './kernel-lock.js';
import { type Holder, lockFileSystem, SilenceWatch } from './lock-files.js';
import { bootId } from './owner.js';
import {
  HELD,
  kernelLockPath,
  lockHolderPath,
  locksDirectory,
  sharedLockPath,
  type TreeRoots,
} from './tree-paths.js';

export interface LockOptions {
  /** A shared lock without a heartbeat for this long is taken over. At least 2,000. */
  readonly staleMs: number;
  /** Whether the kernel lock is held, too. */
  readonly kernel: boolean;
  /** Id of this process, for processes that find it dead. */
  readonly owner: string;
  /** How long to wait for a busy lock. */
  readonly waitMs: number;
  /** Aborts the wait. */
  readonly signal?: AbortSignal;
  /** Called once, when the lock is busy for longer than a dead holder can keep it. */
  readonly onBusy?: (() => void) | undefined;
  /** Called with the duration of the wait, whether or not the lock was obtained. */
  readonly onWaited?: ((waitedMs: number) => void) | undefined;
}

export interface RepositoryLock {
  /** Nonzero when the lock is lost; readable from every thread. */
  readonly lost: Int32Array;
  release(): Promise<void>;
}

/**
 * proper-lockfile compares the time of a lock with the local clock. Here only `SilenceWatch` decides what is
 * stale.
 */
const NEVER_MS = 1e15;
const RETRY_MS_MIN = 5;
const RETRY_MS_MAX = 250;

/** @throws lock.busy when it stays busy for `waitMs`, or the signal aborts the wait */
export async function lockRepository(
  roots: TreeRoots,
  id: RepositoryId,
  options: LockOptions,
): Promise<RepositoryLock> {
  const beganMs = performance.now();
  const deadline = beganMs + options.waitMs;
  const watch = new SilenceWatch(sharedLockPath(roots, id));
  let isSaid = false;
  for (let waitMs = RETRY_MS_MIN; ; waitMs = Math.min(waitMs * 2, RETRY_MS_MAX)) {
    const lock = await tryLockRepository(roots, id, options, watch);
    if (lock) {
      options.onWaited?.(performance.now() - beganMs);
      return lock;
    }
    if (performance.now() + waitMs > deadline || options.signal?.aborted) {
      options.onWaited?.(performance.now() - beganMs);
      throw new DropdockError('lock.busy', `Another publisher holds the lock of '${id}'.`, { id });
    }
    if (!isSaid && performance.now() - beganMs > options.staleMs) {
      isSaid = true;
      options.onBusy?.();
    }
    // Random, so that two waiting processes do not stay in step.
    await delay(waitMs * (0.5 + Math.random()), undefined, { ref: true });
  }
}

async function tryLockRepository(
  roots: TreeRoots,
  id: RepositoryId,
  options: LockOptions,
  watch: SilenceWatch,
): Promise<RepositoryLock | undefined> {
  const kernel = tryKernelLock(kernelLockPath(roots, id), options.kernel);
  if (kernel === 'busy') return undefined;
  const held = kernel === 'unsupported' ? undefined : kernel;
  try {
    const { staleMs } = options;
    // This process has the kernel lock, so a holder on the same kernel is dead, and there is no need to wait.
    if (held && wasOurKernels(roots, id)) lockFileSystem.remove(watch.lock);
    else if (watch.isSilentFor(staleMs, performance.now())) lockFileSystem.remove(watch.lock);
    const shared = await trySharedLock(roots, id, options);
    if (shared) return withKernelLock(shared, held);
  } catch (error) {
    held?.release();
    throw error;
  }
  held?.release();
  return undefined;
}

function withKernelLock(shared: RepositoryLock, kernel: KernelLock | undefined): RepositoryLock {
  return {
    lost: shared.lost,
    release: async () => {
      try {
        await shared.release();
      } finally {
        kernel?.release();
      }
    },
  };
}

function wasOurKernels(roots: TreeRoots, id: RepositoryId): boolean {
  return holderOf(roots, id)?.boot === bootId();
}

function holderOf(roots: TreeRoots, id: RepositoryId): Holder | undefined {
  return lockFileSystem.holderOf(sharedLockPath(roots, id), lockHolderPath(roots, id));
}

/**
 * Releases the locks of dead processes.
 * @param dead their ids
 */
export function freeLocksOf(roots: TreeRoots, dead: readonly string[]): void {
  for (const name of lockFileSystem.held(locksDirectory(roots), HELD)) {
    const id = name.slice(0, -HELD.length) as RepositoryId;
    const holder = holderOf(roots, id);
    if (holder && dead.includes(holder.owner)) lockFileSystem.remove(sharedLockPath(roots, id));
  }
}

async function trySharedLock(
  roots: TreeRoots,
  id: RepositoryId,
  { staleMs, owner }: LockOptions,
): Promise<RepositoryLock | undefined> {
  const path = sharedLockPath(roots, id);
  const lost = new Int32Array(new SharedArrayBuffer(4));
  let release: () => Promise<void>;
  try {
    release = await properLockfile.lock(path, {
      lockfilePath: path,
      realpath: false,
      stale: NEVER_MS,
      update: staleMs / 4,
      retries: 0,
      fs: lockFileSystem.with(lockHolderPath(roots, id), { boot: bootId(), owner }),
      onCompromised: () => Atomics.store(lost, 0, 1),
    });
  } catch (error) {
    if ((error as { code?: string }).code === 'ELOCKED') return undefined;
    throw error;
  }
  return {
    lost,
    release: async () => {
      if (Atomics.load(lost, 0) === 0) await release();
    },
  };
}
