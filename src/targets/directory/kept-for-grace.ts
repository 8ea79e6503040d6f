/** What the current snapshot keeps for grace only, and since when. Read-only. */
import { join } from 'node:path';
import type { Digest } from '../../image/digest.js';
import type { RepositoryId } from '../../image/names.js';
import { type GracePeriod, settle } from '../../repository/merge.js';
import { REMOVED_MARK, SNAPSHOT_FILE } from '../../repository/render.js';
import { parseCarried } from '../../repository/snapshot-file.js';
import type { RepositoryState } from '../../repository/state.js';
import { type Timestamp, timestampMs } from '../../repository/timestamp.js';
import type { Disk } from '../../storage/disk.js';
import { readFile } from '../../storage/durable.js';
import { job } from '../../storage/job.js';
import { snapshotPath, type TreeRoots } from '../../storage/tree-paths.js';
import { ifThere, readSnapshot } from './pivot.js';

export interface CarriedRequest {
  readonly roots: TreeRoots;
  readonly id: RepositoryId;
  readonly snapshot: Timestamp;
}

/** Returns the digests of files in the current snapshot that the next one would not have. */
export function leavesNextTime(
  disk: Disk,
  { roots, id, snapshot, expiredMs }: CarriedRequest & Pick<GracePeriod, 'expiredMs'>,
): Set<Digest> {
  const stored = ifThere(() => readSnapshot(disk, roots, id, snapshot));
  if (stored === undefined) return new Set();
  const { state } = stored;
  // Tagged content does not leave, so the name of the next snapshot does not matter here.
  const grace = { stampMs: timestampMs(snapshot), expiredMs };
  const leaves = contentOf(state);
  for (const digest of contentOf(settle(state, state, grace))) leaves.delete(digest);
  return leaves;
}

function contentOf({ manifests }: RepositoryState): Set<Digest> {
  const digests = new Set<Digest>();
  for (const [digest, { stored = digest, blobs }] of manifests) {
    digests.add(stored);
    for (const blob of blobs) digests.add(blob.digest);
  }
  return digests;
}

/**
 * Returns since which snapshots (their names, in ms) manifests are kept for grace, oldest first. Empty for a
 * removed repository, which is removed as a whole.
 * @throws layout.unsafe
 */
export const carriedBy = job(
  'background',
  import.meta.url,
  function carriedBy(disk: Disk, { roots, id, snapshot }: CarriedRequest): number[] {
    const root = snapshotPath(roots, id, snapshot);
    const path = join(root, SNAPSHOT_FILE);
    if (disk.statIfThere(join(root, REMOVED_MARK))) return [];
    const bytes = ifThere(() => readFile(disk, path, Number.MAX_SAFE_INTEGER));
    const carried = bytes ? parseCarried(bytes, path) : new Map<string, number>();
    return [...carried.values()].sort((a, b) => a - b);
  },
);
