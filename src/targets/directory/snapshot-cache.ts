/**
 * Caches the snapshots that this thread built or read last. The next publish of a repository with 50,000 tags
 * then need not parse 40 MB of text and render all of it again.
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

/** Size of the text. The parsed form takes several times as much. */
const BYTES_MAX = 128 * 1024 * 1024;
/** A thread may live as long as its process, so entries expire. */
const REMEMBERED_MS = 60_000;

interface Remembered {
  /** See `snapshotVersion`. */
  readonly version: string;
  readonly stored: StoredSnapshot;
  /** Absent when the snapshot was read from its file. */
  readonly rendering?: Rendering | undefined;
}

/** Holds the last snapshot of each repository. */
const remembered = new LRUCache<string, Remembered>({
  maxSize: BYTES_MAX,
  ttl: REMEMBERED_MS,
  ttlAutopurge: true,
});

/** Cached `readSnapshot`, for publishers. Verify and repair read the file itself. */
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

/** Returns how this snapshot was rendered, if known. */
export function recallRendering(
  roots: TreeRoots,
  stored: StoredSnapshot | undefined,
): Rendering | undefined {
  if (stored === undefined) return undefined;
  const known = remembered.get(snapshotsDirectory(roots, stored.state.id));
  return known?.stored === stored ? known.rendering : undefined;
}

/** @param stored was just read from this snapshot, or written as it */
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

/**
 * Identifies a snapshot beyond its name, which another one may have had before, as may the inode of its file.
 */
export function snapshotVersion(
  disk: Disk,
  roots: TreeRoots,
  id: RepositoryId,
  snapshot: Timestamp,
): string {
  const { ino, size, ctimeMs } = disk.stat(join(snapshotPath(roots, id, snapshot), SNAPSHOT_FILE));
  return `${snapshot}@${ino}-${size}-${ctimeMs}`;
}
