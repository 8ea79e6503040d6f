/** What comes into the content store already hashed: bytes in memory, and files of our own. */
import { dirname } from 'node:path';
import type { Disk } from './disk.js';
import {
  discard,
  ensureDirectory,
  removeIfThere,
  statIfThere,
  syncDirectory,
  withOpen,
  writeNewFile,
} from './durable.js';

/** How a blob came into the store. */
export type Ingested = 'linked' | 'cloned' | 'copied' | 'present';

/** How many blobs of a drop came in which way. */
export function nothingIngested(): Record<Ingested, number> {
  return { linked: 0, cloned: 0, copied: 0, present: 0 };
}

/** Stored files are read by web servers and written by nobody. */
export const STORED_MODE = 0o444;

/** Tells the sweep of unused content that this is wanted again: it goes by the change time. */
export function markUsed(disk: Disk, path: string): void {
  withOpen(disk, path, 'read', (fd) => disk.setMode(fd, STORED_MODE));
}

/** Moves a file that was hashed while it was written, by us, into the store. */
export function adoptSpooled(
  disk: Disk,
  { path, destination }: { readonly path: string; readonly destination: string },
): Ingested {
  if (statIfThere(disk, destination)?.size === disk.stat(path).size) {
    markUsed(disk, destination);
    disk.unlink(path);
    return 'present';
  }
  ensureDirectory(disk, dirname(destination));
  disk.rename(path, destination);
  syncDirectory(disk, dirname(destination));
  return 'copied';
}

/** Stores bytes that were hashed in memory: manifests, and blobs given inline. */
export function ingestBytes(
  disk: Disk,
  bytes: Uint8Array,
  destination: string,
  temporary: string,
): Ingested {
  if (statIfThere(disk, destination)?.size === bytes.length) {
    markUsed(disk, destination);
    return 'present';
  }
  ensureDirectory(disk, dirname(destination));
  removeIfThere(disk, temporary);
  try {
    writeNewFile(disk, temporary, bytes, { mode: STORED_MODE });
    disk.rename(temporary, destination);
  } catch (error) {
    discard(() => removeIfThere(disk, temporary));
    throw error;
  }
  syncDirectory(disk, dirname(destination));
  return 'copied';
}
