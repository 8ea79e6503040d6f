/** Data for `status` and `history`. Read-only. */

import type { RepositoryId } from '../../image/names.js';
import { sortByTag } from '../../image/tag-order.js';
import type { HistoryEntry, RepositoryOverview } from '../../publisher/target.js';
import type { RepositoryState } from '../../repository/state.js';
import { isTimestamp, type Timestamp } from '../../repository/timestamp.js';
import type { Disk } from '../../storage/disk.js';
import { job } from '../../storage/job.js';
import type { TreeRoots } from '../../storage/tree-paths.js';
import { readHistory } from './flip-history.js';
import { ifThere, listSnapshots, readPivot, readSnapshot, readThroughPivot } from './pivot.js';

export interface OverviewRequest {
  readonly roots: TreeRoots;
  readonly id: RepositoryId;
}

/** Returns undefined when there is no such repository. */
export const repositoryOverview = job(
  'fast',
  import.meta.url,
  function repositoryOverview(
    disk: Disk,
    { roots, id }: OverviewRequest,
  ): RepositoryOverview | undefined {
    return readThroughPivot(disk, roots, id, (snapshot) => overview(disk, roots, id, snapshot));
  },
);

function overview(
  disk: Disk,
  roots: TreeRoots,
  id: RepositoryId,
  snapshot: Timestamp,
): RepositoryOverview {
  const { state } = readSnapshot(disk, roots, id, snapshot);
  const sizes = new Map<string, number>();
  addSizes(state, sizes);
  return {
    repository: state.repository,
    id,
    snapshot,
    removed: state.removed === true,
    snapshots: listSnapshots(disk, roots, id).filter(isTimestamp).length,
    tags: sortByTag(state.tags, ([tag]) => tag).map(([tag, { digest }]) => ({ tag, digest })),
    manifests: state.manifests.size,
    bytes: [...sizes.values()].reduce((sum, size) => sum + size, 0),
  };
}

/** Returns the size of everything that the kept snapshots of a repository serve, by digest. */
export const repositoryContents = job(
  'fast',
  import.meta.url,
  function repositoryContents(disk: Disk, { roots, id }: OverviewRequest): Map<string, number> {
    const sizes = new Map<string, number>();
    for (const name of listSnapshots(disk, roots, id).filter(isTimestamp)) {
      const stored = ifThere(() => readSnapshot(disk, roots, id, name));
      if (stored) addSizes(stored.state, sizes);
    }
    return sizes;
  },
);

function addSizes({ manifests }: RepositoryState, sizes: Map<string, number>): void {
  for (const [digest, { size, blobs }] of manifests) {
    sizes.set(digest, size);
    for (const blob of blobs) sizes.set(blob.digest, blob.size);
  }
}

/** Newest first. */
export const repositoryHistory = job(
  'fast',
  import.meta.url,
  function repositoryHistory(disk: Disk, { roots, id }: OverviewRequest): HistoryEntry[] {
    const kept = new Set(listSnapshots(disk, roots, id));
    const current = readPivot(disk, roots, id);
    const records = readHistory(disk, roots, id);
    return records
      .map(({ clock: _clock, ...record }, at) => ({
        ...record,
        kept: kept.has(record.snapshot),
        current: record.snapshot === current && at === records.length - 1,
      }))
      .reverse();
  },
);
