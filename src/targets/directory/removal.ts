/**
 * Deletes a removed repository. Its last snapshot serves running pulls until the grace period is over; then
 * its links, snapshots and history are deleted.
 */
import { join } from 'node:path';
import { hasErrno } from '../../errors.js';
import type { RepositoryId } from '../../image/names.js';
import type { ClockReading } from '../../repository/elapsed.js';
import { flipAges } from '../../repository/grace.js';
import { REMOVED_MARK } from '../../repository/render.js';
import { isTimestamp, type Timestamp } from '../../repository/timestamp.js';
import type { Disk } from '../../storage/disk.js';
import { syncDirectory } from '../../storage/durable.js';
import { moveToTrash } from '../../storage/trash.js';
import {
  historyPath,
  masterDirectory,
  snapshotPath,
  snapshotsDirectory,
  type TreeRoots,
} from '../../storage/tree-paths.js';
import { removeLinks } from './flip.js';
import { readFullHistory } from './flip-history.js';
import { listSnapshots, readPivot } from './pivot.js';

export interface RemovalRequest {
  readonly roots: TreeRoots;
  readonly id: RepositoryId;
  readonly graceMs: number;
  readonly clock: ClockReading;
  /** Set when the lock is lost (see `FlipRequest`). Nothing is deleted after that. */
  readonly lockLost?: Int32Array;
}

/**
 * Returns true when the grace period of a removed repository is over, or its deletion was interrupted.
 * Read-only.
 */
export function isExpired(disk: Disk, { roots, id, graceMs, clock }: RemovalRequest): boolean {
  const current = readPivot(disk, roots, id);
  const all = current === null ? listSnapshots(disk, roots, id) : [current];
  // Without a pivot the newest snapshot decides: the pivot may have been deleted by mistake.
  const last = all.filter(isTimestamp).at(-1);
  if (last === undefined) {
    return all.length === 0 && disk.statIfThere(snapshotsDirectory(roots, id)) !== undefined;
  }
  const mark = join(snapshotPath(roots, id, last), REMOVED_MARK);
  if (disk.statIfThere(mark) === undefined) return false;
  if (graceMs <= 0) return true;
  const { flips, sightings } = readFullHistory(disk, roots, id);
  const at = flips.findLastIndex(({ snapshot }) => snapshot === last);
  // An interrupted deletion: pivot and history are gone already.
  if (current === null && at === -1) return true;
  return (flipAges(flips, sightings, clock)[at] ?? 0) >= graceMs;
}

/**
 * Runs under the repository's lock.
 * @returns true when the repository was deleted
 */
export function finishRemoval(disk: Disk, request: RemovalRequest): boolean {
  if (!isExpired(disk, request)) return false;
  const { roots, id } = request;
  const removed = readPivot(disk, roots, id);
  // Newer names may be the next snapshot of a running publish.
  const names = listSnapshots(disk, roots, id)
    .filter(isTimestamp)
    .filter((name) => removed === null || name <= removed);
  // Checked before each step: another host may have taken over the lock and published.
  if (isLost(request)) return false;
  if (removed !== null && !removeLinks(disk, roots, id, removed)) return false;
  return removeRemains(disk, request, names);
}

function isLost({ lockLost }: RemovalRequest): boolean {
  return lockLost !== undefined && Atomics.load(lockLost, 0) !== 0;
}

/** Deletes the snapshots of an id without a pivot. Unknown entries are kept. */
function removeRemains(disk: Disk, request: RemovalRequest, names: readonly Timestamp[]): boolean {
  const { roots, id } = request;
  const directory = snapshotsDirectory(roots, id);
  const isStillOurs = () => readPivot(disk, roots, id) === null && !isLost(request);
  if (!isStillOurs()) return false;
  moveToTrash(disk, roots, historyPath(roots, id), `${id}.jsonl`);
  // Oldest first: the last one has the mark that identifies a removed repository after an interruption.
  for (const name of names) {
    if (!isStillOurs()) return false;
    moveToTrash(disk, roots, snapshotPath(roots, id, name), `${id}@${name}`);
  }
  try {
    disk.removeDirectory(directory);
    syncDirectory(disk, masterDirectory(roots));
  } catch (error) {
    if (!hasErrno(error, 'ENOENT', 'ENOTEMPTY', 'EEXIST')) throw error;
  }
  return true;
}
