/**
 * The snapshot that this thread built or read last, so that the next publish of a repository with
 * 50,000 tags need not read 40 MB of text first. One only, and gone with its thread when that idles.
 */
import { join } from 'node:path';
import type { Disk } from '../disk/disk.js';
import type { RepositoryId } from '../image/names.js';
import { SNAPSHOT_FILE } from '../snapshot/render.js';
import type { StoredSnapshot } from '../snapshot/snapshot-file.js';
import type { Timestamp } from '../snapshot/timestamp.js';
import { readSnapshot } from './current.js';
import { snapshotPath, type TreeRoots } from './paths.js';

let last: { readonly version: string; readonly stored: StoredSnapshot } | undefined;

/** As `readSnapshot`, for a publisher; those who look for damage read the file itself. */
export function recallSnapshot(
  disk: Disk,
  roots: TreeRoots,
  id: RepositoryId,
  snapshot: Timestamp,
): StoredSnapshot {
  const version = versionOf(disk, roots, id, snapshot);
  if (last?.version === version) return last.stored;
  const stored = readSnapshot(disk, roots, id, snapshot);
  last = { version, stored };
  return stored;
}

/** @param stored what was just written as this snapshot */
export function rememberSnapshot(
  disk: Disk,
  roots: TreeRoots,
  id: RepositoryId,
  stored: StoredSnapshot,
): void {
  const version = versionOf(disk, roots, id, stored.snapshot as Timestamp);
  last = { version, stored };
}

/** Which very file: a snapshot that was withdrawn may leave its name to another. */
function versionOf(disk: Disk, roots: TreeRoots, id: RepositoryId, snapshot: Timestamp): string {
  const path = join(snapshotPath(roots, id, snapshot), SNAPSHOT_FILE);
  const { dev, ino, size, ctimeMs } = disk.stat(path);
  return `${path} ${dev}:${ino} ${size} ${ctimeMs}`;
}
