/** A job that reads what a flip changed from the published tree, and spools the notification. */

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
import { type FlipRecord, readHistory } from '../targets/directory/flip-history.js';
import { readPivot, readSnapshot } from '../targets/directory/pivot.js';

export interface SettleFlipRequest {
  readonly roots: TreeRoots;
  readonly spool: string;
  readonly note: FlipNote;
  readonly targets: readonly Pick<Target, 'key' | 'on' | 'repositories'>[];
  /** True if the caller did not write the note: another process may have settled it meanwhile. */
  readonly isLeft: boolean;
}

/** A snapshot made by a cleaning is not notified: it changes no tag. */
const EVENTS: Readonly<Record<SnapshotReason['why'], FlipNotice['event'] | undefined>> = {
  publish: 'published',
  rollback: 'rolled-back',
  untag: 'untagged',
  remove: 'removed',
  clean: undefined,
};

/**
 * Spools the notification of a flip if the flip has happened, and deletes its note.
 * @returns how many older notifications were dropped to make room
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
      const notice = flipNotice(disk, roots, note, record);
      const keys = targets
        .filter((target) => notice !== undefined && wants(target, notice, matchesRepository))
        .map(({ key }) => key);
      if (notice) dropped = spoolNotice(disk, { spool, keys: [...new Set(keys)], notice });
    }
    forgetFlip(disk, { spool, note });
    return dropped;
  },
);

/** Returns undefined for a removed snapshot (later flips were notified) and for one made by a cleaning. */
function flipNotice(
  disk: Disk,
  roots: TreeRoots,
  { id, snapshot, base }: FlipNote,
  record: FlipRecord | undefined,
): FlipNotice | undefined {
  const stored = readIfWhole(disk, roots, id, snapshot);
  if (stored === undefined) return undefined;
  const { state: now, reason } = stored;
  const event = EVENTS[reason.why];
  if (event === undefined) return undefined;
  // If a cleaning has already removed the base, everything counts as new.
  const before = readIfWhole(disk, roots, id, base)?.state ?? emptyState(now.repository, now.id);
  return {
    version: 1,
    event,
    id: `${id}@${snapshot}`,
    at: record?.at ?? snapshot,
    repository: now.repository,
    snapshot,
    base,
    tags: tagMoves(before.tags, now.tags),
    untagged: [...now.untagged.keys()].filter((digest) => !before.untagged.has(digest)).sort(),
    drops: reason.drops.map(({ drop }) => drop),
    by: record?.by ?? [],
    detail: reason.detail ?? null,
  };
}

/** Returns undefined for a damaged snapshot: a retry cannot help, only `verify --repair`. */
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
