/**
 * The commit point. Everything before it can fail and changes nothing; nothing after it can fail
 * the publish. The only file that writes web/ and app/.
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
  /** What the pivot named when the publish began. */
  readonly base: Timestamp | null;
  readonly snapshot: Timestamp;
  /** Its first element is not 0 once the lock is lost; shared with the thread that holds the lock. */
  readonly lockLost: Int32Array;
}

/**
 * Steps 9 and 10 of a publish. The rename itself asks for no condition, so several who are about to
 * flip (a lock may be taken over from one that is only slow) are told apart by their links:
 *
 *   a. I make my link beside those of the others, b. take theirs away, c. see that the pivot is what I
 *   built on, d. rename my link over the pivot. Who finds his link gone has lost, and begins anew.
 *
 * Of two that flip, say mine comes last. The pivot was still the old one at my c, so the other's link
 * was there when I came to b, or was made after it. If it was there I took it away, and he could not
 * flip. If it was made later he found mine at his b, and I could not. However long anybody sleeps
 * between two steps, no flip lands on one that it was not built on.
 * @returns what could not be done after the flip; the next visit does it
 * @throws lock.lost, pivot.moved, system errors: then the pivot is as it was, or (the latter alone)
 *   nobody knows
 */
export function flip(disk: Disk, request: FlipRequest): unknown[] {
  const { roots, id, base, snapshot, lockLost } = request;
  const path = pivotPath(roots, id);
  const target = pivotTarget(id, snapshot);
  // 9. Is the pivot what step 3 saw, and the lock still ours?
  const link = makeOnlyLink(disk, roots, id, snapshot);
  const now = readPivot(disk, roots, id);
  if (now !== base || Atomics.load(lockLost, 0) !== 0) {
    discard(() => disk.unlink(link));
    if (now === base) throw overtaken(id, snapshot);
    throw new DropdockError('pivot.moved', `${id} moved from ${base} to ${now} meanwhile.`, {
      snapshot,
    });
  }
  // 10. One rename.
  try {
    disk.rename(link, path);
  } catch (error) {
    // Over NFS a rename whose answer was lost is reported as failed.
    if (readLinkIfThere(disk, path) !== target) {
      discard(() => disk.unlink(link));
      throw hasErrno(error, 'ENOENT') ? overtaken(id, snapshot) : error;
    }
  }
  return collectErrors([() => syncDirectory(disk, webDirectory(roots))]);
}

/** The same, with an answer that can cross threads. */
export const flipTo = job(
  'fast',
  import.meta.url,
  function flipTo(disk: Disk, request: FlipRequest): PlainError[] {
    return flip(disk, request).map(toPlainError);
  },
);

/** Steps a and b. @returns where it is */
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
  return new DropdockError('lock.lost', `The lock on ${id} was lost before the flip.`, {
    snapshot,
  });
}

/** For a pivot that leads to nothing: there is nothing to be lost by turning it. */
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
 * Step 11: the link for Crane, renamed into place even when it is right already, for Crane reloads
 * when a directory's time grows and nothing else in app/ changes.
 * @returns what went wrong; the pivot is flipped, so it is reported and not thrown
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

/** Step 11 and the record of the flip. @returns what went wrong; the next visit does it */
export const afterFlip = job(
  'fast',
  import.meta.url,
  function afterFlip(disk: Disk, request: AfterFlipRequest): PlainError[] {
    const { roots, id, owner, record } = request;
    const errors = placeAppLink(disk, roots, id, owner);
    try {
      // Whoever has moved it since, while we slept, has recorded this flip before.
      if (readPivot(disk, roots, id) === record.snapshot) recordFlip(disk, roots, id, record);
    } catch (error) {
      errors.push(error);
    }
    return errors.map(toPlainError);
  },
);

/**
 * The end of a repository that was removed and whose grace period is over. The link for Crane goes
 * first: one that leads nowhere makes Crane give up loading everything (tried). Cut short in between,
 * the pivot still leads to a removed snapshot, and the next visit begins anew.
 * @returns false when the pivot leads elsewhere by now: somebody has published
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

/** @returns true when the link for Crane had to be put right */
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
