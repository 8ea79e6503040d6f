/** Reads snapshots for the web page. Read-only; runs in the background pool. */
import { join } from 'node:path';
import type { RepositoryId } from '../../image/names.js';
import { SNAPSHOT_FILE } from '../../repository/render.js';
import {
  describeChanges,
  type SnapshotChanges,
  toBase,
} from '../../repository/snapshot-changes.js';
import { parseSnapshotTags, type SnapshotTags } from '../../repository/snapshot-file.js';
import {
  factsOf,
  type SnapshotFacts,
  type SnapshotSummary,
  summarise,
} from '../../repository/summary.js';
import type { Timestamp } from '../../repository/timestamp.js';
import type { Disk } from '../../storage/disk.js';
import { readFile } from '../../storage/durable.js';
import { job } from '../../storage/job.js';
import { snapshotPath, type TreeRoots } from '../../storage/tree-paths.js';
import { ifThere, readSnapshot } from './pivot.js';

export interface BrowseRequest {
  readonly roots: TreeRoots;
  readonly id: RepositoryId;
  readonly snapshot: Timestamp;
}

/** Returns undefined when the snapshot is gone. */
export const snapshotFacts = job(
  'background',
  import.meta.url,
  function snapshotFacts(
    disk: Disk,
    { roots, id, snapshot }: BrowseRequest,
  ): SnapshotFacts | undefined {
    return ifThere(() => factsOf(readSnapshot(disk, roots, id, snapshot)));
  },
);

export const snapshotSummary = job(
  'background',
  import.meta.url,
  function snapshotSummary(
    disk: Disk,
    { roots, id, snapshot }: BrowseRequest,
  ): SnapshotSummary | undefined {
    return ifThere(() => summarise(readSnapshot(disk, roots, id, snapshot)));
  },
);

/** Returns the changes of this snapshot and of its kept predecessors (`base`), newest first. */
export const snapshotChanges = job(
  'background',
  import.meta.url,
  function snapshotChanges(
    disk: Disk,
    { roots, id, snapshot, count }: BrowseRequest & { readonly count: number },
  ): SnapshotChanges[] {
    const found: SnapshotChanges[] = [];
    let name: Timestamp | null = snapshot;
    let tags = readTags(disk, { roots, id, snapshot });
    while (name !== null && tags !== undefined && found.length < count) {
      const base: Timestamp | null = toBase(tags.base);
      const before = base === null ? undefined : readTags(disk, { roots, id, snapshot: base });
      found.push(describeChanges(name, tags, before));
      [name, tags] = [base, before];
    }
    return found;
  },
);

function readTags(disk: Disk, { roots, id, snapshot }: BrowseRequest): SnapshotTags | undefined {
  const path = join(snapshotPath(roots, id, snapshot), SNAPSHOT_FILE);
  return ifThere(() => parseSnapshotTags(readFile(disk, path, Number.MAX_SAFE_INTEGER), path));
}
