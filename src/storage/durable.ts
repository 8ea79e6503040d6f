/**
 * Operations composed from those of the disk: whole files, synced directories, replaced links, deleted trees.
 * Independent of what the files mean.
 */
import { dirname } from 'node:path';
import { DropdockError, hasErrno } from '../errors.js';
import type { Disk } from './disk.js';
import type { OpenedFile } from './inside-directory.js';

/** Returns undefined when there is nothing, or not a link. */
export function readLinkIfThere(disk: Disk, path: string): string | undefined {
  try {
    return disk.readLink(path);
  } catch (error) {
    if (hasErrno(error, 'ENOENT', 'EINVAL')) return undefined;
    throw error;
  }
}

/** Returns the entries of a directory; none when it does not exist. */
export function listIfThere(disk: Disk, path: string): ReturnType<Disk['list']> {
  try {
    return disk.list(path);
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return [];
    throw error;
  }
}

export function withOpen<T>(
  disk: Disk,
  path: string,
  mode: Parameters<Disk['open']>[1],
  use: (fd: number) => T,
): T {
  const fd = disk.open(path, mode);
  try {
    return use(fd);
  } finally {
    disk.close(fd);
  }
}

/** @throws limit.exceeded when the file is longer than `max` bytes */
export function readFile(disk: Disk, path: string, max: number): Buffer {
  return withOpen(disk, path, 'read', (fd) =>
    readOpenFile(disk, { fd, stat: disk.statOpen(fd) }, path, max),
  );
}

export function readOpenFile(
  disk: Disk,
  { fd, stat: { size } }: OpenedFile,
  path: string,
  max: number,
): Buffer {
  if (size > max) {
    throw new DropdockError(
      'limit.exceeded',
      `The file '${path}' exceeds the limit of ${max} bytes.`,
      { path },
    );
  }
  const buffer = Buffer.allocUnsafe(size);
  let at = 0;
  while (at < size) {
    const count = disk.read(fd, buffer.subarray(at), size - at, at);
    if (count === 0) break;
    at += count;
  }
  return buffer.subarray(0, at);
}

export interface NewFile {
  readonly mode: number;
  /** Seconds since the epoch; default: now. */
  readonly mtime?: number;
}

/**
 * Writes a new file and syncs it. The caller syncs its directory entry.
 * @throws EEXIST
 */
export function writeNewFile(
  disk: Disk,
  path: string,
  bytes: Uint8Array,
  { mode, mtime }: NewFile,
): void {
  withOpen(disk, path, 'create', (fd) => {
    writeAll(disk, fd, bytes, 0);
    disk.setMode(fd, mode);
    if (mtime !== undefined) disk.setTime(fd, mtime);
    disk.sync(fd);
  });
}

/** Repeats short writes (full disk, signal) until everything is written or an error occurs. */
export function writeAll(disk: Disk, fd: number, bytes: Uint8Array, position: number): void {
  let at = 0;
  while (at < bytes.length) at += disk.write(fd, bytes, at, position + at);
}

/** Replaces a file by a rename, synced before and after. A reader sees the old file or the new one. */
export function replaceFile(
  disk: Disk,
  path: string,
  bytes: Uint8Array,
  temporary: string,
  mode: number,
): void {
  removeIfThere(disk, temporary);
  try {
    writeNewFile(disk, temporary, bytes, { mode });
    disk.rename(temporary, path);
  } catch (error) {
    discard(() => disk.unlink(temporary));
    throw error;
  }
  syncDirectory(disk, dirname(path));
}

/** Replaces a link by a rename. A reader sees the old link or the new one. */
export function replaceLink(disk: Disk, target: string, path: string, temporary: string): void {
  makeLink(disk, target, temporary);
  try {
    disk.rename(temporary, path);
  } catch (error) {
    discard(() => disk.unlink(temporary));
    throw error;
  }
}

/** Replaces a leftover of a process that died before its rename. */
function makeLink(disk: Disk, target: string, path: string): void {
  try {
    disk.symlink(target, path);
  } catch (error) {
    if (!hasErrno(error, 'EEXIST')) throw error;
    disk.unlink(path);
    disk.symlink(target, path);
  }
}

export function removeIfThere(disk: Disk, path: string): void {
  try {
    disk.unlink(path);
  } catch (error) {
    if (!hasErrno(error, 'ENOENT')) throw error;
  }
}

export function syncDirectory(disk: Disk, path: string): void {
  withOpen(disk, path, 'directory', (fd) => disk.sync(fd));
}

/**
 * Creates a directory and missing parents, with mode 0755 regardless of the umask, and syncs each changed
 * parent. An existing directory keeps its mode.
 */
export function ensureDirectory(disk: Disk, path: string, mode = 0o755): void {
  if (disk.statIfThere(path)) return;
  ensureDirectory(disk, dirname(path));
  try {
    disk.makeDirectory(path);
  } catch (error) {
    if (hasErrno(error, 'EEXIST')) return;
    throw error;
  }
  withOpen(disk, path, 'directory', (fd) => disk.setMode(fd, mode));
  syncDirectory(disk, dirname(path));
}

/**
 * Creates a directory with this mode regardless of the umask. The caller syncs its directory entry.
 * @throws EEXIST
 */
export function makeDirectory(disk: Disk, path: string, mode: number): void {
  disk.makeDirectory(path);
  withOpen(disk, path, 'directory', (fd) => disk.setMode(fd, mode));
}

/** Processes all items, then throws the first error. */
export function forEach<T>(items: readonly T[], work: (item: T) => void): void {
  const failures: unknown[] = [];
  for (const item of items) {
    try {
      work(item);
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
}

/** For cleanup after an error: its own errors must not hide the first one. */
export function discard(tidy: () => void): void {
  try {
    tidy();
  } catch {
    // The next start finds the leftovers.
  }
}
