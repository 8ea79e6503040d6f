/** The services that all parts of the running program share, opened once and closed once. */
import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
import { findOwnInbox } from '../inbox/claim.js';
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
import { UserNames, userSources } from '../storage/user-names.js';
import { ThreadPool } from '../workers/thread-pool.js';
import { InboxStatus } from './inbox-status.js';
import { logEvents } from './log-events.js';
import { Notices } from './notices.js';
import { Targets } from './targets.js';

/** What the upkeep remembers between rounds. */
export class UpkeepMemory {
  /** Claims of this process that the last round found unattended, by `claimKey`. */
  forgottenClaims: ReadonlySet<string> = new Set();
  /** The last logged reason why a repository cannot be cleaned, by target and id. */
  readonly warningOf = new Map<string, string>();
}

export interface Services {
  /** The current settings. A copy of this object by spreading keeps the settings of that moment. */
  readonly settings: Settings;
  readonly roots: TreeRoots;
  readonly inbox: string;
  /** The directory that holds `.claimed`, `.receipts` and the others: the inbox, if it is writable. */
  readonly ownInbox: string;
  readonly owner: Owner;
  readonly owners: OwnerWatch;
  readonly run: RunJob;
  readonly log: Log;
  /** All targets, including the directory. */
  readonly targets: Targets;
  /** Spools notifications. */
  readonly notices: Notices;
  /** Events of drops and repositories. */
  readonly events: Events;
  /** The inbox status. */
  readonly board: InboxStatus;
  /** Names the directories of this process under work/. */
  readonly transactions: TransactionNames;
  readonly uid: number;
  readonly users: UserNames;
  /** Claims in progress, by `claimKey`; the upkeep adopts other claims of this process again. */
  readonly liveClaims: Set<string>;
  readonly claimMoments: ClaimMoments;
  readonly upkeep: UpkeepMemory;
  /** The wall clock of the tree's file system, which all its hosts share; it may be set at any time. */
  readonly nowMs: () => number;
  /** The monotonic clock of this process. */
  readonly monotonicMs: () => number;
  /** The monotonic clock of the kernel; its readings are comparable between processes. */
  readonly clock: () => ClockReading;
  close(): Promise<void>;
}

/** Returns the marker files that prove that a file system is mounted, not just its empty mount point. */
export function markersOf({ paths }: Settings): string[] {
  const { marker } = paths;
  if (marker === null) return [];
  return [paths.inbox, paths.published, paths.state].map((root) => resolve(root, marker));
}

/** Runs jobs: the thread pool, or a replacement in tests. */
export interface Hands {
  readonly run: RunJob;
  close(): Promise<void>;
}

export function threadsFor({ threads }: Settings): Hands {
  return new ThreadPool({ hashThreads: threads.hash || availableParallelism() });
}

/**
 * Creates missing directories and checks that they are on one file system.
 * @param current returns the current settings, which a reload changes
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
    // Several heartbeats must fit into lock.stale, after which a silent process counts as dead.
    const owner = new Owner(ownersDirectory(roots), { heartbeatMs: stale / 4, kernel });
    const nowMs = () => Date.now() + owner.aheadMs;
    const monotonicMs = () => performance.now();
    const inbox = resolve(settings.paths.inbox);
    const liveClaims = new Set<string>();
    const isDaemon = true;
    const ownInbox = await hands.run(findOwnInbox, { inbox, state: roots.state, isDaemon });
    const board = new InboxStatus({ inbox: ownInbox, roots, run: hands.run, liveClaims, nowMs });
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
      ownInbox,
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
      users: new UserNames(userSources()),
      ...clocks,
      close: async () => {
        await opened.targets.close();
        await hands.close();
        owner.release();
      },
    };
    // Assigned to the same object, because tests set its clocks.
    const observer = notices.targets.length > 0 ? notices : undefined;
    const opened = Object.assign(services, { targets: new Targets(current, services, observer) });
    return opened;
  } catch (error) {
    await hands.close();
    throw error;
  }
}
