/** Shared parts of the content store and the code that fills it. */
import { dirname } from 'node:path';
import { DropdockError, hasErrno } from '../errors.js';
import type { Digest } from '../image/digest.js';
import { MANIFEST_BYTES_MAX } from '../image/limits.js';
import type { Disk } from './disk.js';
import { ensureDirectory, readFile, syncDirectory, withOpen } from './durable.js';
import { contentPath, type TreeRoots } from './tree-paths.js';

/** How a blob got into the store. */
export type Ingested = 'linked' | 'cloned' | 'copied' | 'present';

/** Number of blobs of a drop, by how they got into the store. */
export function nothingIngested(): Record<Ingested, number> {
  return { linked: 0, cloned: 0, copied: 0, present: 0 };
}

/** Web servers read stored files; nothing writes to them. */
export const STORED_MODE = 0o444;

/** Updates the change time, by which the sweep knows that the content is needed. */
export function markUsed(disk: Disk, path: string): void {
  withOpen(disk, path, 'read', (fd) => disk.setMode(fd, STORED_MODE));
}

/** Moves a file into the store that this process hashed while writing it. */
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

/** Returns true when the store has it, and marks it as used. */
export function isStored(disk: Disk, destination: string, size: number): boolean {
  if (disk.statIfThere(destination)?.size !== size) return false;
  markUsed(disk, destination);
  return true;
}

/**
 * With more directories than this, the whole filesystem is synced: 256 directories take 30 ms one by one, and
 * 11 to 15 in one go. There is little else to write, because the files were just synced.
 */
export const NAMES_SYNCED_EACH_MAX = 100;

/** A synced file that has no name in the store yet. */
export interface Placed {
  readonly temporary: string;
  readonly destination: string;
}

/** Renames each file to its name, then syncs each directory once. */
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

/**
 * Reads a manifest from the content store.
 * @throws content.vanished, system errors
 */
export function loadManifest(disk: Disk, roots: TreeRoots, digest: Digest): Buffer {
  try {
    return readFile(disk, contentPath(roots, digest), MANIFEST_BYTES_MAX);
  } catch (error) {
    throw hasErrno(error, 'ENOENT') ? vanished(digest, error) : error;
  }
}

/** Error for content that the store no longer has. */
export function vanished(digest: Digest, cause: unknown): DropdockError {
  return new DropdockError(
    'content.vanished',
    `${digest} is no longer in the content store.`,
    { digest },
    cause,
  );
}
