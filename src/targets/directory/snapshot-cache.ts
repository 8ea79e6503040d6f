/**
 * The snapshots that this thread built or read last, so that the next publish of a repository with
 * 50,000 tags need not parse 40 MB of text first, nor render all of it anew.
 */
import { join } from 'node:path';
import { LRUCache } from 'lru-cache';
import type { RepositoryId } from '../../image/names.js';
import { SNAPSHOT_FILE } from '../../repository/render.js';
import type { Rendering } from '../../repository/rendering.js';
import type { StoredSnapshot } from '../../repository/snapshot-file.js';
import type { Timestamp } from '../../repository/timestamp.js';
import type { Disk } from '../../storage/disk.js';
import { snapshotPath, snapshotsDirectory, type TreeRoots } from '../../storage/tree-paths.js';
import { readSnapshot } from './pivot.js';

/** Of text; what is made of it takes some times as much. */
const BYTES_MAX = 128 * 1024 * 1024;
/** A thread may live as long as its process. */
const REMEMBERED_MS = 60_000;

interface Remembered {
  /** Which very snapshot it is. */
  readonly version: string;
  readonly stored: StoredSnapshot;
  /** Unless it was read from its file. */
  readonly rendering?: Rendering | undefined;
}

/** One snapshot of each repository, the last. */
const remembered = new LRUCache<string, Remembered>({
  maxSize: BYTES_MAX,
  ttl: REMEMBERED_MS,
  ttlAutopurge: true,
});

/** As `readSnapshot`, for a publisher; those who look for damage read the file itself. */
export function recallSnapshot(
  disk: Disk,
  roots: TreeRoots,
  id: RepositoryId,
  snapshot: Timestamp,
): StoredSnapshot {
  const version = snapshotVersion(disk, roots, id, snapshot);
  const known = remembered.get(snapshotsDirectory(roots, id));
  if (known?.version === version) return known.stored;
  const stored = readSnapshot(disk, roots, id, snapshot);
  rememberSnapshot(disk, roots, id, stored);
  return stored;
}

/** How that very snapshot was rendered, where this is known. */
export function recallRendering(
  roots: TreeRoots,
  stored: StoredSnapshot | undefined,
): Rendering | undefined {
  if (stored === undefined) return undefined;
  const known = remembered.get(snapshotsDirectory(roots, stored.state.id));
  return known?.stored === stored ? known.rendering : undefined;
}

/** @param stored what was just read from this snapshot, or written as it */
export function rememberSnapshot(
  disk: Disk,
  roots: TreeRoots,
  id: RepositoryId,
  stored: StoredSnapshot,
  rendering?: Rendering,
): void {
  const snapshot = stored.snapshot as Timestamp;
  const version = snapshotVersion(disk, roots, id, snapshot);
  const { size } = disk.stat(join(snapshotPath(roots, id, snapshot), SNAPSHOT_FILE));
  remembered.set(snapshotsDirectory(roots, id), { version, stored, rendering }, { size });
}

/** Names the very snapshot: its name may have been another's before, its file's inode too. */
export function snapshotVersion(
  disk: Disk,
  roots: TreeRoots,
  id: RepositoryId,
  snapshot: Timestamp,
): string {
  const { ino, size, ctimeMs } = disk.stat(join(snapshotPath(roots, id, snapshot), SNAPSHOT_FILE));
  return `${snapshot}@${ino}-${size}-${ctimeMs}`;
}
