/**
 * One publish per repository at a time. Two locks together:
 * - the kernel's, exact on one host, held through SIGSTOP and released on death;
 * - proper-lockfile's directory, which works across hosts, kept fresh by a heartbeat.
 *
 * Whether a holder on another host is dead is told by watching its directory for so long, never by
 * comparing its times with our clock: hosts disagree by hours.
 *
 * What it does not promise: across hosts a stale directory lock can be taken twice (measured: 13 of
 * 60 rounds), and a release removes whoever's directory is there. So safety does not rest on it but
 * on the flip (flip.ts); losing the lock aborts the publish (`lost`).
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
  /** A shared lock that was watched for so long without a sign of life is taken over. At least 2,000. */
  readonly staleMs: number;
  /** Whether the kernel's lock is held too. */
  readonly kernel: boolean;
  /** The token of this process, for those who find out that it died. */
  readonly owner: string;
  /** How long to wait for a busy lock before giving up. */
  readonly waitMs: number;
  /** Ends the waiting. */
  readonly signal?: AbortSignal;
  /** Is called once, when it has been busy for longer than a dead holder can keep it so. */
  readonly onBusy?: (() => void) | undefined;
  /** Is told how long the waiting took, whether the lock was got or not. */
  readonly onWaited?: ((waitedMs: number) => void) | undefined;
}

export interface RepositoryLock {
  /** Not 0 once the lock is lost; readable from every thread. */
  readonly lost: Int32Array;
  release(): Promise<void>;
}

/** proper-lockfile compares a lock's time with our clock; only `SilenceWatch` says what is stale. */
const NEVER_MS = 1e15;
const RETRY_MS_MIN = 5;
const RETRY_MS_MAX = 250;

/** @throws lock.busy when it stays busy for `waitMs` or the signal ends the waiting */
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
      throw new DropdockError('lock.busy', `Another publisher works on ${id}.`, { id });
    }
    if (!isSaid && performance.now() - beganMs > options.staleMs) {
      isSaid = true;
      options.onBusy?.();
    }
    // Some randomness, so that two who wait do not ask in step for ever.
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
    // We hold the kernel's lock, so a holder of the same kernel is dead: no need to wait for stale.
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

/** Frees what processes that are gone had locked. @param dead their tokens */
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
