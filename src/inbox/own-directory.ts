/**
 * The directories in the inbox that belong to dropdock. A user with write permission for the inbox can rename
 * them and put something else in their place. So each is opened without following links, and used relative to
 * the open directory: nothing outside the inbox is reached.
 */
import { randomBytes } from 'node:crypto';
import { basename, dirname, join } from 'node:path';
import { hasErrno } from '../errors.js';
import type { Disk, Entry } from '../storage/disk.js';
import { ensureDirectory, withOpen } from '../storage/durable.js';
import { within } from './signature.js';

export interface OwnDirectory {
  /** A path to an entry, valid while the directory is open. */
  at(name: string): string;
  list(): Entry[];
  sync(): void;
  /**
   * Sets the change time to the filesystem's current time and returns it (ms).
   * @throws EPERM when the directory belongs to another user
   */
  touch(): number;
}

/** Other users have no access to claims. */
const MODES: Readonly<Record<string, number>> = { '.claimed': 0o700, '.left': 0o700 };

/** Creates one of these directories. Anything else with its name is moved aside for inspection. */
export function ensureOwn(disk: Disk, path: string): void {
  const kind = disk.statIfThere(path)?.kind;
  if (kind !== undefined && kind !== 'directory') {
    const aside = `${basename(path)}-set-aside-${randomBytes(4).toString('hex')}`;
    disk.rename(path, join(dirname(path), aside));
  }
  ensureDirectory(disk, path, MODES[basename(path)] ?? 0o755);
  if (basename(path) === '.rejected') {
    withOpen(disk, path, 'directory', (fd) => letUploadersIn(disk, fd, dirname(path)));
  }
}

/**
 * Gives a directory to those who may write to the inbox: uploaders move or delete their rejected drops, and
 * with the sticky bit nothing of others. Where that is not allowed, the directory stays as it is.
 */
export function letUploadersIn(disk: Disk, fd: number, inbox: string): void {
  const [own, from] = [disk.statOpen(fd), disk.stat(inbox)];
  const group = own.gid === from.gid ? from.mode & 0o020 : 0;
  const writers = group | (from.mode & 0o002);
  if (writers === 0) return;
  const mode = 0o1755 | writers;
  if (own.mode === (mode | (from.mode & 0o2000))) return;
  // A mode without the setgid bit removes it. Under systemd's RestrictSUIDSGID= it cannot be set.
  for (const each of [mode | (from.mode & 0o2000), mode]) {
    try {
      disk.setMode(fd, each);
      return;
    } catch (error) {
      if (!hasErrno(error, 'EPERM')) throw error;
    }
  }
}

/** Runs `use` with the directory open. Creates it when it is missing. */
export function inOwn<T>(disk: Disk, path: string, use: (own: OwnDirectory) => T): T {
  let fd = openIfDirectory(disk, path);
  if (fd === undefined) {
    ensureOwn(disk, path);
    fd = disk.open(path, 'directory');
  }
  return useOpen(disk, fd, use);
}

/** Returns the entries; none when the directory is missing or something else has its name. */
export function listOwn(disk: Disk, path: string): Entry[] {
  return findInOwn(disk, path, (own) => own.list()) ?? [];
}

/** For read-only access: returns undefined when the directory is missing. */
export function findInOwn<T>(
  disk: Disk,
  path: string,
  use: (own: Pick<OwnDirectory, 'at' | 'list'>) => T,
): T | undefined {
  const fd = openIfDirectory(disk, path);
  return fd === undefined ? undefined : useOpen(disk, fd, use);
}

function useOpen<T>(disk: Disk, fd: number, use: (own: OwnDirectory) => T): T {
  try {
    return use({
      at: (name) => within(fd, name),
      list: () => disk.list(within(fd)),
      sync: () => disk.sync(fd),
      touch: () => {
        disk.setMode(fd, disk.statOpen(fd).mode);
        return disk.statOpen(fd).ctimeMs;
      },
    });
  } finally {
    disk.close(fd);
  }
}

function openIfDirectory(disk: Disk, path: string): number | undefined {
  try {
    return disk.open(path, 'directory');
  } catch (error) {
    if (hasErrno(error, 'ENOENT', 'ENOTDIR', 'ELOOP')) return undefined;
    throw error;
  }
}

/**
 * Renames something into the directory. An existing entry of that name that cannot be replaced is moved aside
 * within it.
 */
export function renameInto(
  disk: Disk,
  from: string,
  own: Pick<OwnDirectory, 'at'>,
  name: string,
): void {
  try {
    disk.rename(from, own.at(name));
  } catch (error) {
    if (!hasErrno(error, 'ENOTEMPTY', 'EEXIST', 'EISDIR', 'ENOTDIR')) throw error;
    setAside(disk, own, name);
    disk.rename(from, own.at(name));
  }
}

export function setAside(disk: Disk, own: Pick<OwnDirectory, 'at'>, name: string): void {
  disk.rename(own.at(name), own.at(`.set-aside-${randomBytes(8).toString('hex')}`));
}
