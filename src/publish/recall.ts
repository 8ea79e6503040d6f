/**
 * The snapshot that this thread built or read last, so that the next publish of a repository with
 * 50,000 tags need not read 40 MB of text first, nor write all of it anew. One only, and gone with its
 * thread when that idles.
 */
import { join } from 'node:path';
import type { Disk } from '../disk/disk.js';
import type { RepositoryId } from '../image/names.js';
import { SNAPSHOT_FILE } from '../snapshot/render.js';
import type { FileChange, Rendering } from '../snapshot/rendering.js';
import type { StoredSnapshot } from '../snapshot/snapshot-file.js';
import type { Timestamp } from '../snapshot/timestamp.js';
import { readSnapshot } from './current.js';
import { snapshotPath, type TreeRoots } from './paths.js';

/** What a snapshot had, and what the next one had otherwise. */
export interface Step {
  /** As `snapshotVersion` says. */
  readonly version: string;
  /** Of its inventory. */
  readonly sum: string;
  readonly change: FileChange;
}

interface Remembered {
  /** Where it is, and which very one. */
  readonly place: string;
  readonly version: string;
  readonly stored: StoredSnapshot;
  /** Unless it was read from its file. */
  readonly rendering?: Rendering;
  /** The steps that led to it, oldest first, as far as they are known. */
  readonly steps: readonly Step[];
}

/** Trees made ahead are not older than that, unless they are of no use. */
const STEPS_MAX = 8;

let last: Remembered | undefined;

/** As `readSnapshot`, for a publisher; those who look for damage read the file itself. */
export function recallSnapshot(
  disk: Disk,
  roots: TreeRoots,
  id: RepositoryId,
  snapshot: Timestamp,
): StoredSnapshot {
  const place = snapshotPath(roots, id, snapshot);
  const version = snapshotVersion(disk, roots, id, snapshot);
  if (last?.place === place && last.version === version) return last.stored;
  const stored = readSnapshot(disk, roots, id, snapshot);
  last = { place, version, stored, steps: [] };
  return stored;
}

/** @returns how that very snapshot was rendered, and what led to it */
export function recallRendering(
  stored: StoredSnapshot | undefined,
): Pick<Remembered, 'rendering' | 'steps'> {
  return last && last.stored === stored ? last : { steps: [] };
}

/** @param stored what was just written as this snapshot */
export function rememberSnapshot(
  disk: Disk,
  roots: TreeRoots,
  id: RepositoryId,
  stored: StoredSnapshot,
  rendering?: Rendering,
): void {
  const snapshot = stored.snapshot as Timestamp;
  const place = snapshotPath(roots, id, snapshot);
  const version = snapshotVersion(disk, roots, id, snapshot);
  const steps = rendering?.change ? stepsFrom(last, rendering.change) : [];
  last = { place, version, stored, steps, ...(rendering && { rendering }) };
}

/** @param from what `change` leads away from: a rendering with a change was made of the last one */
function stepsFrom(from: Remembered | undefined, change: FileChange): Step[] {
  if (from?.rendering === undefined) return [];
  const { version, rendering, steps } = from;
  return [...steps, { version, sum: rendering.inventory.sum, change }].slice(-STEPS_MAX);
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
