/**
 * Removes old snapshots. Touches only names that are timestamps, and never the current snapshot. A snapshot
 * is renamed into trash/ first and deleted afterwards.
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
  /** Clock for measuring ages. */
  readonly clock: ClockReading;
  /** Wall clock, used only to display until when a snapshot is kept. */
  readonly nowMs: number;
  /** See `RemovalRequest`. */
  readonly lockLost?: Int32Array;
}

export interface CleanPlan {
  readonly verdicts: readonly SnapshotVerdict[];
  /** Names in master/<id>/ that are not timestamps. They are left alone. */
  readonly strangers: readonly string[];
  /** The snapshot that the pivot names. */
  readonly current: Timestamp | null;
  /**
   * See grace.ts: content replaced by the flip at this time (ms), or by an earlier one, is past its grace
   * period.
   */
  readonly expiredMs: number;
  /** Ages to record, so that they keep growing whichever host cleans next. */
  readonly note: Sighting | undefined;
  /** The repository was removed and its grace period is over. */
  readonly isExpired: boolean;
}

/** Returns what a cleaning would remove and the rule that keeps each other snapshot. Read-only. */
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

/** Returns the successors of snapshots that are missing from the history, which may have been lost. */
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
    // Runs without the lock, so another cleaning may remove the snapshot meanwhile.
    const base = ifThere(() => readBase(disk, roots, id, name)) ?? null;
    if (base !== null) found.set(base, name);
  }
  return found;
}

/**
 * Moves old snapshots into the trash; for a removed repository whose grace period is over, everything. Runs
 * under the repository's lock.
 * @returns the snapshots removed; empty for a removed repository
 */
export const cleanRepository = job(
  'fast',
  import.meta.url,
  function cleanRepository(disk: Disk, request: CleanRequest): Timestamp[] {
    return finishRemoval(disk, request) ? [] : trashStale(disk, request);
  },
);

/** Step 12. The work directory is removed even when the cleaning fails. */
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

/** Deletes a snapshot that did not become current. */
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
    // Its publisher may have lost the lock and be paused just before the flip. Without the link it cannot
    // flip.
    if (rule === 'unfinished') removeIfThere(disk, join(pendingFlips(roots, id), name));
    // Read again before each removal: only the pivot says which snapshot is current.
    if (readPivot(disk, roots, id) === name) continue;
    moveToTrash(disk, roots, snapshotPath(roots, id, name), `${id}@${name}`);
    gone.push(name);
  }
  if (note) noteAges(disk, roots, id, note);
  return gone;
}
