/** A job that needs two rooms: what a flip changed is read from what is published, and spooled. */

import { DropdockError, hasErrno } from '../errors.js';
import type { RepositoryId } from '../image/names.js';
import type { FlipNotice, Target } from '../notify/notice.js';
import { wants } from '../notify/notice.js';
import { type FlipNote, forgetFlip, isNoted, spoolNotice } from '../notify/queue.js';
import { tagMoves } from '../repository/merge.js';
import type { SnapshotReason, StoredSnapshot } from '../repository/snapshot-file.js';
import { emptyState } from '../repository/state.js';
import type { Timestamp } from '../repository/timestamp.js';
import { matchesRepository } from '../settings/repository-policy.js';
import type { Disk } from '../storage/disk.js';
import { job } from '../storage/job.js';
import type { TreeRoots } from '../storage/tree-paths.js';
import { readHistory } from '../targets/directory/flip-history.js';
import { readPivot, readSnapshot } from '../targets/directory/pivot.js';

export interface SettleFlipRequest {
  readonly roots: TreeRoots;
  readonly spool: string;
  readonly note: FlipNote;
  readonly targets: readonly Pick<Target, 'key' | 'on' | 'repositories'>[];
  /** The note was found, not written by the caller: somebody may have settled it meanwhile. */
  readonly isLeft: boolean;
}

/** A cleaning's snapshot changes nothing that anybody was told of. */
const EVENTS: Readonly<Record<SnapshotReason['why'], FlipNotice['event'] | undefined>> = {
  publish: 'published',
  rollback: 'rolled-back',
  untag: 'untagged',
  remove: 'removed',
  clean: undefined,
};

/**
 * Tells of a flip if it has happened, and forgets it either way.
 * @returns how many older notices had to go
 */
export const settleFlip = job(
  'fast',
  import.meta.url,
  function settleFlip(disk: Disk, request: SettleFlipRequest): number {
    const { roots, spool, note, targets, isLeft } = request;
    if (isLeft && !isNoted(disk, { spool, note })) return 0;
    const id = note.id as RepositoryId;
    const record = readHistory(disk, roots, id).findLast((each) => each.snapshot === note.snapshot);
    let dropped = 0;
    if (record !== undefined || readPivot(disk, roots, id) === note.snapshot) {
      const notice = flipNotice(disk, roots, note, record?.at ?? note.snapshot);
      const keys = targets
        .filter((target) => notice !== undefined && wants(target, notice, matchesRepository))
        .map(({ key }) => key);
      if (notice) dropped = spoolNotice(disk, { spool, keys: [...new Set(keys)], notice });
    }
    forgetFlip(disk, { spool, note });
    return dropped;
  },
);

/** Undefined for a snapshot that is gone (others came after it, and were told of), and for a cleaning's. */
function flipNotice(
  disk: Disk,
  roots: TreeRoots,
  { id, snapshot, base }: FlipNote,
  at: string,
): FlipNotice | undefined {
  const stored = readIfWhole(disk, roots, id, snapshot);
  if (stored === undefined) return undefined;
  const { state: now, reason } = stored;
  const event = EVENTS[reason.why];
  if (event === undefined) return undefined;
  // Told so late that the cleaning was there before: then everything counts as new.
  const before = readIfWhole(disk, roots, id, base)?.state ?? emptyState(now.repository, now.id);
  return {
    version: 1,
    event,
    id: `${id}@${snapshot}`,
    at,
    repository: now.repository,
    snapshot,
    base,
    tags: tagMoves(before.tags, now.tags),
    untagged: [...now.untagged.keys()].filter((digest) => !before.untagged.has(digest)).sort(),
    drops: reason.drops.map(({ drop }) => drop),
    detail: reason.detail ?? null,
  };
}

/** A damaged one is the business of `verify --repair`, and never read better by trying again. */
function readIfWhole(
  disk: Disk,
  roots: TreeRoots,
  id: string,
  snapshot: string | null,
): StoredSnapshot | undefined {
  if (snapshot === null) return undefined;
  try {
    return readSnapshot(disk, roots, id as RepositoryId, snapshot as Timestamp);
  } catch (error) {
    const isDamaged = error instanceof DropdockError && error.code === 'layout.unsafe';
    if (isDamaged || hasErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
}
