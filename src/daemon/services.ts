/** What every part of the running program shares, opened once and closed once. */
import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
import { readClock } from '../disk/clock.js';
import type { RunJob } from '../disk/hands.js';
import { Owner, OwnerWatch } from '../disk/owner.js';
import { ClaimMoments } from '../inbox/claim-moments.js';
import type { Log } from '../log.js';
import type { LockOptions } from '../publish/lock.js';
import { allDirectories, ownersDirectory, type TreeRoots } from '../publish/paths.js';
import type { PublishContext } from '../publish/turn.js';
import type { Settings } from '../settings/schema.js';
import type { ClockReading } from '../snapshot/elapsed.js';
import type { Jobs } from '../threads/jobs.js';
import { ThreadPool } from '../threads/pool.js';
import { Board } from './board.js';
import { Notices } from './notices.js';
import { Stores } from './stores.js';

export interface Services {
  readonly settings: Settings;
  readonly roots: TreeRoots;
  readonly inbox: string;
  readonly owner: Owner;
  readonly owners: OwnerWatch;
  readonly run: RunJob<Jobs>;
  readonly log: Log;
  /** Targets that are no directory. */
  readonly stores: Stores;
  /** What somebody is to be told. */
  readonly notices: Notices;
  readonly onLockWaited: Hands['onLockWaited'];
  /** Hears everything that is logged, and knows what goes on. */
  readonly board: Board;
  readonly uid: number;
  /** The claims this process works on, by `claimKey`; others of its token were dropped by mistake. */
  readonly liveClaims: Set<string>;
  readonly claimMoments: ClaimMoments;
  /** The wall clock that all hosts of a tree share, its filesystem's; it may be set at any moment. */
  readonly nowMs: () => number;
  /** A clock that is never set, of this process alone. */
  readonly monotonicMs: () => number;
  /** A clock that is never set, whose readings other processes can compare with theirs. */
  readonly clock: () => ClockReading;
  close(): Promise<void>;
}

/** What a command publishes with: it waits for a busy repository as long as the settings say. */
export function publishContext(services: Services): PublishContext {
  const { roots, owner, uid, run, nowMs, clock } = services;
  return { roots, owner: owner.token, uid, run, nowMs, clock, lock: lockOptions(services) };
}

/** The files by which a tree is known for itself, and not for the place where it should be mounted. */
export function markersOf({ paths }: Settings): string[] {
  const { marker } = paths;
  if (marker === null) return [];
  return [paths.inbox, paths.published, paths.state].map((root) => resolve(root, marker));
}

/** How a command, and whoever else waits no longer than the settings say, takes a repository's lock. */
export function lockOptions({
  settings,
  owner,
}: Pick<Services, 'settings' | 'owner'>): LockOptions {
  const { stale: staleMs, wait: waitMs, kernel } = settings.lock;
  return { staleMs, waitMs, kernel, owner: owner.token };
}

/** Who does the disk work: worker threads, or whatever a test puts in their place. */
export interface Hands {
  readonly run: RunJob<Jobs>;
  /** Is told how long the daemon waited for a lock (ms). */
  readonly onLockWaited?: ((waitedMs: number) => void) | undefined;
  close(): Promise<void>;
}

export function threadsFor({ threads }: Settings): Hands {
  return new ThreadPool({ hashThreads: threads.hash || availableParallelism() });
}

/** Makes the directories that are missing and checks that they lie on one filesystem. */
export async function openServices(
  settings: Settings,
  log: Log,
  hands: Hands = threadsFor(settings),
): Promise<Services> {
  const roots = {
    published: resolve(settings.paths.published),
    state: resolve(settings.paths.state),
  };
  try {
    const markers = markersOf(settings);
    await hands.run('prepareTree', { roots, directories: allDirectories(roots), markers });
    const { stale, kernel } = settings.lock;
    // Several signs of life must fit into the time after which silence means death.
    const owner = new Owner(ownersDirectory(roots), { heartbeatMs: stale / 4, kernel });
    const nowMs = () => Date.now() + owner.aheadMs;
    const monotonicMs = () => performance.now();
    const inbox = resolve(settings.paths.inbox);
    const liveClaims = new Set<string>();
    const board = new Board({ inbox, roots, run: hands.run, liveClaims, nowMs });
    const heard: Log = (level, event, fields = {}) => {
      board.hear(event, fields);
      log(level, event, fields);
    };
    const { token } = owner;
    const notices = new Notices({ settings, roots, owner: token, run: hands.run, log: heard });
    const clocks = { nowMs, monotonicMs, clock: readClock };
    const stores = new Stores({ settings, roots, run: notices.run, ...clocks });
    return {
      settings,
      roots,
      inbox,
      stores,
      owner,
      owners: new OwnerWatch(ownersDirectory(roots), { silenceMs: stale, monotonicMs, kernel }),
      // Whoever flips, the daemon or a command: it is told of.
      run: notices.run,
      notices,
      onLockWaited: hands.onLockWaited,
      log: heard,
      board,
      liveClaims,
      claimMoments: new ClaimMoments(),
      uid: process.getuid?.() ?? 0,
      ...clocks,
      close: async () => {
        await stores.close();
        await hands.close();
        owner.release();
      },
    };
  } catch (error) {
    await hands.close();
    throw error;
  }
}
