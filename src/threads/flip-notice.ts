/** A job that needs two rooms: what a flip changed is read from what is published, and spooled. */
import type { Disk } from '../disk/disk.js';
import { hasErrno } from '../errors.js';
import type { RepositoryId } from '../image/names.js';
import type { FlipNotice, Target } from '../notify/notice.js';
import { wants } from '../notify/notice.js';
import { type FlipNote, forgetFlip, isNoted, spoolNotice } from '../notify/spool.js';
import { readPivot, readSnapshot } from '../publish/current.js';
import { type FlipRecord, readHistory } from '../publish/history.js';
import type { TreeRoots } from '../publish/paths.js';
import { matchesRepository } from '../settings/repository-policy.js';
import { tagMoves } from '../snapshot/merge.js';
import { emptyState, type RepositoryState } from '../snapshot/state.js';
import type { Timestamp } from '../snapshot/timestamp.js';

export interface SettleFlipRequest {
  readonly roots: TreeRoots;
  readonly spool: string;
  readonly note: FlipNote;
  readonly targets: readonly Pick<Target, 'key' | 'on' | 'repositories'>[];
  /** The note was found, not written by the caller: somebody may have settled it meanwhile. */
  readonly isLeft: boolean;
}

const EVENTS: Readonly<Record<FlipRecord['why'], FlipNotice['event']>> = {
  publish: 'published',
  recovered: 'published',
  rollback: 'rolled-back',
  untag: 'untagged',
  remove: 'removed',
};

/**
 * Tells of a flip if it has happened, and forgets it either way.
 * @returns how many older notices had to go
 */
export function settleFlip(disk: Disk, request: SettleFlipRequest): number {
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
}

/** Undefined for a snapshot that is gone: others came after it, and were told of. */
function flipNotice(
  disk: Disk,
  roots: TreeRoots,
  { id, snapshot, base }: FlipNote,
  record: FlipRecord | undefined,
): FlipNotice | undefined {
  const now = stateOf(disk, roots, id, snapshot);
  if (now === undefined) return undefined;
  // Told so late that the cleaning was there before: then everything counts as new.
  const before = stateOf(disk, roots, id, base) ?? emptyState(now.repository, now.id);
  const why = record?.why ?? 'recovered';
  return {
    version: 1,
    event: why === 'recovered' && now.removed ? 'removed' : EVENTS[why],
    id: `${id}@${snapshot}`,
    at: record?.at ?? snapshot,
    repository: now.repository,
    snapshot,
    base,
    tags: tagMoves(before.tags, now.tags),
    untagged: [...now.untagged.keys()].filter((digest) => !before.untagged.has(digest)).sort(),
    drops: (record?.drops ?? []).map(({ drop }) => drop),
    detail: record?.detail ?? null,
    recovered: why === 'recovered',
  };
}

function stateOf(
  disk: Disk,
  roots: TreeRoots,
  id: string,
  snapshot: string | null,
): RepositoryState | undefined {
  if (snapshot === null) return undefined;
  try {
    return readSnapshot(disk, roots, id as RepositoryId, snapshot as Timestamp).state;
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
}
