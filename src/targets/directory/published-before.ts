/**
 * Finds drops that were published already. A claim may outlive its flip, when the receipt could not be
 * written or the process died. The history of the repository identifies it by its path and claim time.
 */

import { hasErrno } from '../../errors.js';
import { flatDropName, type RepositoryId, type Tag } from '../../image/names.js';
import type { StagedContent } from '../../image/staged-content.js';
import { type TagMove, tagMoves } from '../../repository/merge.js';
import type { StoredSnapshot } from '../../repository/snapshot-file.js';
import type { Origin } from '../../repository/state.js';
import type { Timestamp } from '../../repository/timestamp.js';
import type { Disk } from '../../storage/disk.js';
import type { TreeRoots } from '../../storage/tree-paths.js';
import { type FlipRecord, readHistory } from './flip-history.js';
import { readSnapshot } from './pivot.js';

export interface FindRequest {
  readonly roots: TreeRoots;
  readonly id: RepositoryId;
  readonly drops: readonly Origin[];
}

/** What the snapshots say about that publish. The drop is not read again. */
export interface PublishedBefore {
  readonly snapshot: Timestamp;
  readonly base: Timestamp | null;
  readonly moves: readonly TagMove[];
  readonly content: StagedContent;
}

/**
 * Runs under the repository's lock, after recovery. Read-only.
 * @returns same order as `drops`
 */
export function findPublished(
  disk: Disk,
  { roots, id, drops }: FindRequest,
): (PublishedBefore | null)[] {
  const records = readHistory(disk, roots, id);
  return drops.map((origin) => {
    const record = records.find((each) => each.drops.some((known) => isSame(known, origin)));
    return record ? describe(disk, { roots, id }, record, origin) : null;
  });
}

function describe(
  disk: Disk,
  { roots, id }: Pick<FindRequest, 'roots' | 'id'>,
  { snapshot, drops }: FlipRecord,
  origin: Origin,
): PublishedBefore {
  const kept = readIfKept(disk, roots, id, snapshot);
  const base = (kept?.base ?? null) as Timestamp | null;
  const before = base === null ? undefined : readIfKept(disk, roots, id, base);
  const tags = [...(kept?.state.tags ?? [])].filter(([, { from }]) => isSame(from, origin));
  const untagged = [...(kept?.state.untagged ?? [])].filter(([, from]) => isSame(from, origin));
  const moves = kept ? tagMoves(before?.state.tags ?? new Map(), kept.state.tags) : [];
  const own = new Set<Tag>(tags.map(([tag]) => tag));
  const named = [
    ...tags.map(([tag, { digest }]) => ({ digest, tags: [tag], names: [] })),
    ...untagged.map(([digest]) => ({ digest, tags: [], names: [] })),
  ];
  return {
    snapshot,
    base,
    // With only one drop, a tag that was removed belongs to it.
    moves: moves.filter(({ tag, to }) => own.has(tag) || (to === null && drops.length === 1)),
    content: {
      roots: named,
      manifests: [],
      blobs: [],
      leftOut: [],
      warnings: ['It was published before its receipt could be written. It was not read again.'],
    },
  };
}

/** Returns undefined when the snapshot was removed. */
function readIfKept(
  disk: Disk,
  roots: TreeRoots,
  id: RepositoryId,
  name: Timestamp,
): StoredSnapshot | undefined {
  try {
    return readSnapshot(disk, roots, id, name);
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
}

/** Compares flat names: claims taken over by an earlier version have only that name. */
function isSame(a: Origin, b: Origin): boolean {
  return a.at === b.at && flatDropName(a.drop) === flatDropName(b.drop);
}
