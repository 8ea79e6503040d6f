/**
 * The commit point of a publish. An error before it changes nothing; an error after it does not fail the
 * publish. This is the only file that writes web/ and app/.
 */
import { join } from 'node:path';
import { DropdockError, hasErrno, type PlainError, toPlainError } from '../../errors.js';
import type { RepositoryId } from '../../image/names.js';
import type { Timestamp } from '../../repository/timestamp.js';
import type { Disk } from '../../storage/disk.js';
import {
  discard,
  ensureDirectory,
  readLinkIfThere,
  removeIfThere,
  replaceLink,
  syncDirectory,
} from '../../storage/durable.js';
import { job } from '../../storage/job.js';
import {
  appDirectory,
  appLinkPath,
  appLinkTarget,
  pendingFlips,
  pivotPath,
  pivotTarget,
  type TreeRoots,
  temporaryLink,
  webDirectory,
} from '../../storage/tree-paths.js';
import { type FlipRecord, recordFlip } from './flip-history.js';
import { readPivot } from './pivot.js';

export interface FlipRequest {
  readonly roots: TreeRoots;
  readonly id: RepositoryId;
  /** The snapshot that the pivot named when the publish began. */
  readonly base: Timestamp | null;
  readonly snapshot: Timestamp;
  /** Its first element becomes nonzero when the lock is lost. Shared with the thread that holds the lock. */
  readonly lockLost: Int32Array;
}

/**
 * Steps 9 and 10 of a publish. A rename cannot be made conditional, and a lock may be taken over from a
 * process that is only slow. So publishers that are about to flip exclude each other by their links:
 *
 *   a. make own link beside the links of other publishers,
 *   b. delete the links of all others,
 *   c. check that the pivot is the snapshot this one was built on,
 *   d. rename own link over the pivot. When the link is gone, the publish has lost and starts again.
 *
 * Suppose two publishers P and Q flip, Q last. At Q's step c the pivot was still unchanged, so P's link
 * either existed at Q's step b, or was made after it. In the first case Q deleted it, and P could not flip.
 * In the second case P deleted Q's link at its own step b, and Q could not flip. So however long a process
 * sleeps between two steps, no flip replaces a snapshot that it was not built on.
 *
 * @returns errors after the flip; the next publish or clean completes the work
 * @throws lock.lost, pivot.moved, system errors; the pivot is unchanged then, or unknown after a system error
 */
export function flip(disk: Disk, request: FlipRequest): unknown[] {
  const { roots, id, base, snapshot, lockLost } = request;
  const path = pivotPath(roots, id);
  const target = pivotTarget(id, snapshot);
  // 9. The pivot must be what step 3 saw, and the lock still held.
  const link = makeOnlyLink(disk, roots, id, snapshot);
  const now = readPivot(disk, roots, id);
  if (now !== base || Atomics.load(lockLost, 0) !== 0) {
    discard(() => disk.unlink(link));
    if (now === base) throw overtaken(id, snapshot);
    throw new DropdockError(
      'pivot.moved',
      `Another publisher moved the pivot of '${id}' from ${base} to ${now}.`,
      {
        snapshot,
      },
    );
  }
  // 10. The flip is one rename.
  try {
    disk.rename(link, path);
  } catch (error) {
    // Over NFS a rename whose response was lost is reported as failed.
    if (readLinkIfThere(disk, path) !== target) {
      discard(() => disk.unlink(link));
      throw hasErrno(error, 'ENOENT') ? overtaken(id, snapshot) : error;
    }
  }
  return collectErrors([() => syncDirectory(disk, webDirectory(roots))]);
}

/** Same as `flip`, with a result that can be sent between threads. */
export const flipTo = job(
  'fast',
  import.meta.url,
  function flipTo(disk: Disk, request: FlipRequest): PlainError[] {
    return flip(disk, request).map(toPlainError);
  },
);

/**
 * Steps a and b.
 * @returns the path of the link
 */
function makeOnlyLink(disk: Disk, roots: TreeRoots, id: RepositoryId, snapshot: Timestamp): string {
  const directory = pendingFlips(roots, id);
  ensureDirectory(disk, directory);
  const link = join(directory, snapshot);
  disk.symlink(pivotTarget(id, snapshot), link);
  for (const { name } of disk.list(directory)) {
    if (name !== snapshot) removeIfThere(disk, join(directory, name));
  }
  return link;
}

function overtaken(id: RepositoryId, snapshot: Timestamp): DropdockError {
  return new DropdockError('lock.lost', `The lock on '${id}' was lost before the flip.`, {
    snapshot,
  });
}

/** Replaces a pivot that names a missing snapshot. Needs no condition: there is nothing to lose. */
export function replacePivot(
  disk: Disk,
  roots: TreeRoots,
  id: RepositoryId,
  { to, owner }: { readonly to: Timestamp; readonly owner: string },
): void {
  const web = webDirectory(roots);
  replaceLink(disk, pivotTarget(id, to), pivotPath(roots, id), temporaryLink(web, id, owner));
  syncDirectory(disk, web);
}

/**
 * Step 11: renames the link for Crane into place, even when it is already right. Crane reloads when the mtime
 * of a directory grows, and nothing else in app/ changes.
 * @returns the errors; they are not thrown because the flip is done
 */
export function placeAppLink(
  disk: Disk,
  roots: TreeRoots,
  id: RepositoryId,
  owner: string,
): unknown[] {
  const app = appDirectory(roots);
  return collectErrors([
    () =>
      replaceLink(disk, appLinkTarget(id), appLinkPath(roots, id), temporaryLink(app, id, owner)),
    () => syncDirectory(disk, app),
  ]);
}

export interface AfterFlipRequest {
  readonly roots: TreeRoots;
  readonly id: RepositoryId;
  readonly owner: string;
  readonly record: FlipRecord;
}

/**
 * Step 11 and the history record of the flip.
 * @returns the errors; the next publish or clean repeats the work
 */
export const afterFlip = job(
  'fast',
  import.meta.url,
  function afterFlip(disk: Disk, request: AfterFlipRequest): PlainError[] {
    const { roots, id, owner, record } = request;
    const errors = placeAppLink(disk, roots, id, owner);
    try {
      // A publisher that moved the pivot since then has already recorded this flip.
      if (readPivot(disk, roots, id) === record.snapshot) recordFlip(disk, roots, id, record);
    } catch (error) {
      errors.push(error);
    }
    return errors.map(toPlainError);
  },
);

/**
 * Removes the links of a removed repository whose grace period is over. The link for Crane goes first: Crane
 * stops loading everything when it finds a dangling link (tried). When interrupted in between, the pivot
 * still names a removed snapshot, and the next cleaning repeats this.
 * @returns false when the pivot has moved: another publisher has published
 */
export function removeLinks(
  disk: Disk,
  roots: TreeRoots,
  id: RepositoryId,
  removed: Timestamp,
): boolean {
  const isStill = () => readPivot(disk, roots, id) === removed;
  if (!isStill()) return false;
  if (readLinkIfThere(disk, appLinkPath(roots, id)) === appLinkTarget(id)) {
    removeIfThere(disk, appLinkPath(roots, id));
    syncDirectory(disk, appDirectory(roots));
  }
  if (!isStill()) return false;
  removeIfThere(disk, pivotPath(roots, id));
  syncDirectory(disk, webDirectory(roots));
  discard(() => disk.removeDirectory(pendingFlips(roots, id)));
  return true;
}

/** @returns true when the link for Crane was wrong and was replaced */
export function repairAppLink(
  disk: Disk,
  roots: TreeRoots,
  id: RepositoryId,
  owner: string,
): boolean {
  if (readLinkIfThere(disk, appLinkPath(roots, id)) === appLinkTarget(id)) return false;
  const [error] = placeAppLink(disk, roots, id, owner);
  if (error !== undefined) throw error;
  return true;
}

function collectErrors(steps: readonly (() => void)[]): unknown[] {
  const errors: unknown[] = [];
  for (const step of steps) {
    try {
      step();
    } catch (error) {
      errors.push(error);
    }
  }
  return errors;
}
