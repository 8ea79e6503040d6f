/**
 * The directories of the inbox that are ours. Whoever may write to the inbox can rename them and put
 * something else in their place, so each is opened through no link, and what is done in it is done
 * relative to what was opened: nothing outside the inbox is reached.
 */
import { randomBytes } from 'node:crypto';
import { basename, dirname, join } from 'node:path';
import { hasErrno } from '../errors.js';
import type { Disk, Entry } from '../storage/disk.js';
import { ensureDirectory } from '../storage/durable.js';
import { within } from './signature.js';

export interface OwnDirectory {
  /** A path to an entry, good for as long as the directory is in use. */
  at(name: string): string;
  list(): Entry[];
  sync(): void;
  /** Sets its change time to the filesystem's now, and tells it (ms). @throws EPERM where it is not ours */
  touch(): number;
}

/** Nobody but us has business among the claims. */
const MODES: Readonly<Record<string, number>> = { '.claimed': 0o700 };

/** Makes one of our directories; what is none and has its name is moved aside, to be looked at. */
export function ensureOwn(disk: Disk, path: string): void {
  const kind = disk.statIfThere(path)?.kind;
  if (kind !== undefined && kind !== 'directory') {
    const aside = `${basename(path)}-set-aside-${randomBytes(4).toString('hex')}`;
    disk.rename(path, join(dirname(path), aside));
  }
  ensureDirectory(disk, path, MODES[basename(path)] ?? 0o755);
}

/** Runs `use` with one of our directories open; it is made again where it is gone. */
export function inOwn<T>(disk: Disk, path: string, use: (own: OwnDirectory) => T): T {
  let fd = openIfDirectory(disk, path);
  if (fd === undefined) {
    ensureOwn(disk, path);
    fd = disk.open(path, 'directory');
  }
  return useOpen(disk, fd, use);
}

/** The entries of one of our directories; none where it is not there, or something else is. */
export function listOwn(disk: Disk, path: string): Entry[] {
  return findInOwn(disk, path, (own) => own.list()) ?? [];
}

/** For those who only look: undefined where one of our directories is not there. */
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
 * Gives something its name in one of our directories. What was put there beforehand by somebody
 * else, and cannot be replaced, is moved aside within it.
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
