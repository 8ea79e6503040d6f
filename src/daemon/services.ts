/** What every part of the running program shares, opened once and closed once. */
import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
import { ClaimMoments } from '../inbox/claim-moments.js';
import type { Log } from '../log.js';
import { Events } from '../publisher/events.js';
import type { ClockReading } from '../repository/elapsed.js';
import type { Settings } from '../settings/schema.js';
import { readClock } from '../storage/clock.js';
import type { RunJob } from '../storage/job.js';
import { Owner, OwnerWatch } from '../storage/owner.js';
import { prepareTree } from '../storage/prepare-tree.js';
import { TransactionNames } from '../storage/transaction.js';
import { allDirectories, ownersDirectory, type TreeRoots } from '../storage/tree-paths.js';
import { ThreadPool } from '../workers/thread-pool.js';
import { InboxStatus } from './inbox-status.js';
import { logEvents } from './log-events.js';
import { Notices } from './notices.js';
import { Targets } from './targets.js';
import { UpkeepMemory } from './upkeep-memory.js';

export interface Services {
  /** As they are now; a copy of this object keeps those of its moment. */
  readonly settings: Settings;
  readonly roots: TreeRoots;
  readonly inbox: string;
  readonly owner: Owner;
  readonly owners: OwnerWatch;
  readonly run: RunJob;
  readonly log: Log;
  /** All targets, the directory among them. */
  readonly targets: Targets;
  /** Notifications that are owed. */
  readonly notices: Notices;
  /** What happens to drops and repositories. */
  readonly events: Events;
  /** Knows the state of the inbox. */
  readonly board: InboxStatus;
  /** Names what this process has under work/. */
  readonly transactions: TransactionNames;
  readonly uid: number;
  /** The claims this process works on, by `claimKey`; others of its token were dropped by mistake. */
  readonly liveClaims: Set<string>;
  readonly claimMoments: ClaimMoments;
  readonly upkeep: UpkeepMemory;
  /** The wall clock that all hosts of a tree share, its filesystem's; it may be set at any moment. */
  readonly nowMs: () => number;
  /** A clock that is never set, of this process alone. */
  readonly monotonicMs: () => number;
  /** A clock that is never set, whose readings other processes can compare with theirs. */
  readonly clock: () => ClockReading;
  close(): Promise<void>;
}

/** The files by which a tree is known for itself, and not for the place where it should be mounted. */
export function markersOf({ paths }: Settings): string[] {
  const { marker } = paths;
  if (marker === null) return [];
  return [paths.inbox, paths.published, paths.state].map((root) => resolve(root, marker));
}

/** Who does the disk work: worker threads, or whatever a test puts in their place. */
export interface Hands {
  readonly run: RunJob;
  close(): Promise<void>;
}

export function threadsFor({ threads }: Settings): Hands {
  return new ThreadPool({ hashThreads: threads.hash || availableParallelism() });
}

/**
 * Makes the directories that are missing and checks that they lie on one filesystem.
 * @param current the settings as they are now: a reload changes what it returns
 */
export async function openServices(
  current: () => Settings,
  log: Log,
  hands: Hands = threadsFor(current()),
  events: Events = new Events(),
): Promise<Services> {
  const settings = current();
  const roots = {
    published: resolve(settings.paths.published),
    state: resolve(settings.paths.state),
  };
  try {
    const markers = markersOf(settings);
    await hands.run(prepareTree, { roots, directories: allDirectories(roots), markers });
    const { stale, kernel } = settings.lock;
    // Several signs of life must fit into the time after which silence means death.
    const owner = new Owner(ownersDirectory(roots), { heartbeatMs: stale / 4, kernel });
    const nowMs = () => Date.now() + owner.aheadMs;
    const monotonicMs = () => performance.now();
    const inbox = resolve(settings.paths.inbox);
    const liveClaims = new Set<string>();
    const board = new InboxStatus({ inbox, roots, run: hands.run, liveClaims, nowMs });
    events.subscribe(board.hear);
    events.subscribe(logEvents(log));
    const { run } = hands;
    const { token } = owner;
    const notices = new Notices({ settings: current, roots, owner: token, run, log });
    const clocks = { nowMs, monotonicMs, clock: readClock };
    const transactions = new TransactionNames(token, nowMs);
    const services = {
      get settings() {
        return current();
      },
      roots,
      inbox,
      owner,
      events,
      transactions,
      owners: new OwnerWatch(ownersDirectory(roots), { silenceMs: stale, monotonicMs, kernel }),
      run,
      notices,
      log,
      board,
      liveClaims,
      claimMoments: new ClaimMoments(),
      upkeep: new UpkeepMemory(),
      uid: process.getuid?.() ?? 0,
      ...clocks,
      close: async () => {
        await opened.targets.close();
        await hands.close();
        owner.release();
      },
    };
    // The same object: tests set its clocks.
    const observer = notices.targets.length > 0 ? notices : undefined;
    const opened = Object.assign(services, { targets: new Targets(current, services, observer) });
    return opened;
  } catch (error) {
    await hands.close();
    throw error;
  }
}
