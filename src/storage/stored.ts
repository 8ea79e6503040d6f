/** What the content store and the ways into it have in common. */
import { dirname } from 'node:path';
import { DropdockError, hasErrno } from '../errors.js';
import type { Digest } from '../image/digest.js';
import { MANIFEST_BYTES_MAX } from '../image/limits.js';
import type { Disk } from './disk.js';
import { ensureDirectory, readFile, syncDirectory, withOpen } from './durable.js';
import { contentPath, type TreeRoots } from './tree-paths.js';

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
  if (disk.statIfThere(destination)?.size === disk.stat(path).size) {
    markUsed(disk, destination);
    disk.unlink(path);
    return 'present';
  }
  ensureDirectory(disk, dirname(destination));
  disk.rename(path, destination);
  syncDirectory(disk, dirname(destination));
  return 'copied';
}

export interface BytesToStore {
  readonly bytes: Uint8Array;
  readonly destination: string;
}

/** True for what the store has; it is wanted again. */
export function isStored(disk: Disk, destination: string, size: number): boolean {
  if (disk.statIfThere(destination)?.size !== size) return false;
  markUsed(disk, destination);
  return true;
}

/**
 * More directories than that, and the filesystem is synced: 256 take 30 ms one after the other, 11 to 15
 * in one go. There is hardly anything else to be written, for the files were synced right before.
 */
export const NAMES_SYNCED_EACH_MAX = 100;

/** A synced file that has not got its name in the store yet. */
export interface Placed {
  readonly temporary: string;
  readonly destination: string;
}

/** Each gets its name; then the directories of these names are synced, each once. */
export function moveIntoStore(disk: Disk, items: readonly Placed[]): void {
  const directories = new Set<string>();
  for (const { temporary, destination } of items) {
    const directory = dirname(destination);
    if (!directories.has(directory)) ensureDirectory(disk, directory);
    directories.add(directory);
    disk.rename(temporary, destination);
  }
  const [one] = directories;
  const isMany = directories.size > NAMES_SYNCED_EACH_MAX;
  if (isMany && one !== undefined && disk.syncFilesystem(one)) return;
  for (const directory of directories) syncDirectory(disk, directory);
}

/** A manifest of the content store. @throws content.vanished, system errors */
export function loadManifest(disk: Disk, roots: TreeRoots, digest: Digest): Buffer {
  try {
    return readFile(disk, contentPath(roots, digest), MANIFEST_BYTES_MAX);
  } catch (error) {
    throw hasErrno(error, 'ENOENT') ? vanished(digest, error) : error;
  }
}

/** Of content that the store had and no longer has. */
export function vanished(digest: Digest, cause: unknown): DropdockError {
  return new DropdockError(
    'content.vanished',
    `${digest} is no longer in the content store.`,
    { digest },
    cause,
  );
}
