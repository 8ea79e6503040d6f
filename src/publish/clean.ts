/**
 * Removes stale snapshots. Only exact names are touched, never the current snapshot, and never a
 * stranger; removal is one rename into trash/, deletion comes after.
 */
import { dirname } from 'node:path';
import type { Disk } from '../disk/disk.js';
import { ensureDirectory, forEach, listIfThere, syncDirectory } from '../disk/durable.js';
import { removeOwnTree } from '../disk/remove-tree.js';
import { hasErrno } from '../errors.js';
import type { RepositoryId } from '../image/names.js';
import { isTimestamp, type Timestamp } from '../snapshot/timestamp.js';
import { listSnapshots, readBase, readPivot } from './current.js';
import { readHistory } from './history.js';
import { snapshotPath, type TreeRoots, trashDirectory, trashPath } from './paths.js';
import {
  currencyFacts,
  judgeSnapshots,
  type RetentionPolicy,
  type SnapshotVerdict,
} from './retention.js';

export interface CleanRequest extends RetentionPolicy {
  readonly roots: TreeRoots;
  readonly id: RepositoryId;
  /** See `RemovalRequest`. */
  readonly lockLost?: Int32Array;
}

export interface CleanPlan {
  readonly verdicts: readonly SnapshotVerdict[];
  /** Names in master/<id>/ that are no timestamps; they are left alone. */
  readonly strangers: readonly string[];
  /** What the pivot names. */
  readonly current: Timestamp | null;
}

/** What would go and which rule keeps the rest. Reads only. */
export function planClean(disk: Disk, request: CleanRequest): CleanPlan {
  const { roots, id } = request;
  const names = listSnapshots(disk, roots, id);
  const snapshots = names.filter(isTimestamp);
  const current = readPivot(disk, roots, id);
  const history = readHistory(disk, roots, id);
  const facts = currencyFacts(
    snapshots,
    current,
    history,
    successors(
      disk,
      roots,
      id,
      snapshots,
      history.map(({ snapshot }) => snapshot),
    ),
  );
  return {
    verdicts: judgeSnapshots(facts, request),
    strangers: names.filter((name) => !isTimestamp(name)),
    current,
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
    const base = readBase(disk, roots, id, name);
    if (base !== null) found.set(base, name);
  }
  return found;
}

/**
 * Under the repository's lock: moves what is stale into the trash.
 * @returns the names that went
 */
export function cleanRepository(disk: Disk, request: CleanRequest): Timestamp[] {
  const { roots, id } = request;
  const gone: Timestamp[] = [];
  for (const { name, remove } of planClean(disk, request).verdicts) {
    // The pivot is asked again for each: it alone says what is current.
    if (!remove || readPivot(disk, roots, id) === name) continue;
    moveToTrash(disk, roots, snapshotPath(roots, id, name), `${id}@${name}`);
    gone.push(name);
  }
  return gone;
}

/** One rename; a crash leaves the whole thing or a piece of trash, never half a snapshot. */
export function moveToTrash(disk: Disk, roots: TreeRoots, path: string, name: string): void {
  ensureDirectory(disk, trashDirectory(roots));
  for (let attempt = 0; ; attempt++) {
    try {
      disk.rename(path, trashPath(roots, attempt === 0 ? name : `${name}.${attempt}`));
      // Deletion must not be on disk before the rename that makes this trash.
      syncDirectory(disk, dirname(path));
      return;
    } catch (error) {
      if (hasErrno(error, 'ENOENT')) return;
      if (!hasErrno(error, 'ENOTEMPTY', 'EEXIST', 'ENOTDIR', 'EISDIR') || attempt > 1000)
        throw error;
    }
  }
}

/** Deletes what lies in the trash; several may do so at once. @returns how many entries went */
export function emptyTrash(disk: Disk, { roots }: { readonly roots: TreeRoots }): number {
  const entries = listIfThere(disk, trashDirectory(roots));
  forEach(entries, ({ name }) => removeOwnTree(disk, trashPath(roots, name)));
  return entries.length;
}
