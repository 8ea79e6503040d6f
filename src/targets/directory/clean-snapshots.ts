/**
 * Removes stale snapshots. Only exact names are touched, never the current snapshot, and never a
 * stranger; removal is one rename into trash/, deletion comes after.
 */
import { join } from 'node:path';
import type { RepositoryId } from '../../image/names.js';
import { ageIn, type ClockReading, type Sighting } from '../../repository/elapsed.js';
import { expiredUpTo, flipAges, unfinishedKey, worthNoting } from '../../repository/grace.js';
import {
  currencyFacts,
  judgeSnapshots,
  type RetentionPolicy,
  type SnapshotVerdict,
} from '../../repository/retention.js';
import { isTimestamp, type Timestamp } from '../../repository/timestamp.js';
import type { Disk } from '../../storage/disk.js';
import { removeIfThere } from '../../storage/durable.js';
import { job } from '../../storage/job.js';
import { end, type Transaction } from '../../storage/transaction.js';
import { moveToTrash } from '../../storage/trash.js';
import { pendingFlips, snapshotPath, type TreeRoots } from '../../storage/tree-paths.js';
import { noteAges, readFullHistory } from './flip-history.js';
import { ifThere, listSnapshots, readBase, readPivot } from './pivot.js';
import { finishRemoval, isExpired } from './removal.js';

export interface CleanRequest extends RetentionPolicy {
  readonly roots: TreeRoots;
  readonly id: RepositoryId;
  /** What the ages are judged by. */
  readonly clock: ClockReading;
  /** The wall clock: only to say until when something stays. */
  readonly nowMs: number;
  /** See `RemovalRequest`. */
  readonly lockLost?: Int32Array;
}

export interface CleanPlan {
  readonly verdicts: readonly SnapshotVerdict[];
  /** Names in master/<id>/ that are no timestamps; they are left alone. */
  readonly strangers: readonly string[];
  /** What the pivot names. */
  readonly current: Timestamp | null;
  /** See grace.ts: what is carried on since this flip (ms) or an earlier one is past its grace period. */
  readonly expiredMs: number;
  /** What is to be written down, so that the ages grow whoever cleans next. */
  readonly note: Sighting | undefined;
  /** It was removed, and its time is over. */
  readonly isExpired: boolean;
}

/** What would go and which rule keeps the rest. Reads only. */
export const planClean = job(
  'fast',
  import.meta.url,
  function planClean(disk: Disk, request: CleanRequest): CleanPlan {
    return { ...judgeAll(disk, request), isExpired: isExpired(disk, request) };
  },
);

function judgeAll(disk: Disk, request: CleanRequest): Omit<CleanPlan, 'isExpired'> {
  const { roots, id } = request;
  const names = listSnapshots(disk, roots, id);
  const snapshots = names.filter(isTimestamp);
  const current = readPivot(disk, roots, id);
  const history = readFullHistory(disk, roots, id);
  const { flips, sightings } = history;
  const { clock, nowMs, graceMs } = request;
  const known = flips.map(({ snapshot }) => snapshot);
  const built = successors(disk, roots, id, snapshots, known);
  const facts = currencyFacts(snapshots, current, flips, built);
  const ages = flipAges(flips, sightings, clock);
  const verdicts = judgeSnapshots(facts, request, {
    flips: ages,
    unfinished: (name) => ageIn(sightings, unfinishedKey(name), clock) ?? 0,
    nowMs,
  });
  const past = facts.filter(({ isCurrent }) => !isCurrent);
  const waiting = {
    waiting: past.flatMap(({ endedBy }) => endedBy ?? []),
    unfinished: past.filter(({ endedBy }) => endedBy === undefined).map(({ name }) => name),
  };
  return {
    verdicts,
    strangers: names.filter((name) => !isTimestamp(name)),
    current,
    expiredMs: expiredUpTo(flips, ages, graceMs),
    note: graceMs > 0 ? worthNoting(history, waiting, { now: clock, graceMs }) : undefined,
  };
}

/** For snapshots the history does not know (it may have been lost): what was built on them. */
function successors(
  disk: Disk,
  roots: TreeRoots,
  id: RepositoryId,
  snapshots: readonly Timestamp[],
  known: readonly Timestamp[],
): Map<Timestamp, Timestamp> {
  const found = new Map<Timestamp, Timestamp>();
  if (snapshots.every((name) => known.includes(name))) return found;
  for (const name of snapshots) {
    // Without the lock another cleaning may take it away meanwhile.
    const base = ifThere(() => readBase(disk, roots, id, name)) ?? null;
    if (base !== null) found.set(base, name);
  }
  return found;
}

/**
 * Under the repository's lock: moves what is stale into the trash; of a repository that was removed, and whose
 * time is over, everything.
 * @returns the names that went, but for those of such a repository
 */
export const cleanRepository = job(
  'fast',
  import.meta.url,
  function cleanRepository(disk: Disk, request: CleanRequest): Timestamp[] {
    return finishRemoval(disk, request) ? [] : trashStale(disk, request);
  },
);

/** Step 12; what lies under work/ goes even when that fails. */
export const cleanAndEnd = job(
  'fast',
  import.meta.url,
  function cleanAndEnd(disk: Disk, request: CleanRequest & Transaction): Timestamp[] {
    try {
      return cleanRepository(disk, request);
    } finally {
      end(disk, request);
    }
  },
);

/** Takes back a snapshot that was not flipped to. */
export const withdraw = job(
  'fast',
  import.meta.url,
  function withdraw(disk: Disk, { roots, id, snapshot }: WithdrawRequest): void {
    if (readPivot(disk, roots, id) === snapshot) return;
    moveToTrash(disk, roots, snapshotPath(roots, id, snapshot), `${id}@${snapshot}`);
  },
);

export interface WithdrawRequest {
  readonly roots: TreeRoots;
  readonly id: RepositoryId;
  readonly snapshot: Timestamp;
}

function trashStale(disk: Disk, request: CleanRequest): Timestamp[] {
  const { roots, id } = request;
  const gone: Timestamp[] = [];
  const { verdicts, note } = judgeAll(disk, request);
  for (const { name, remove, rule } of verdicts) {
    if (!remove) continue;
    // Its publisher may have lost the lock and sleep just before its flip: without the link it cannot.
    if (rule === 'unfinished') removeIfThere(disk, join(pendingFlips(roots, id), name));
    // The pivot is asked again for each: it alone says what is current.
    if (readPivot(disk, roots, id) === name) continue;
    moveToTrash(disk, roots, snapshotPath(roots, id, name), `${id}@${name}`);
    gone.push(name);
  }
  if (note) noteAges(disk, roots, id, note);
  return gone;
}
