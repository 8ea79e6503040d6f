/** The clock of the filesystem, with which change times are compared. */

import { hasErrno } from '../errors.js';
import type { Disk } from '../storage/disk.js';
import { removeIfThere } from '../storage/durable.js';
import type { OwnDirectory } from './own-directory.js';

/** How long a check of a directory stays valid (ms): the clock of a file server may be set. */
const TRUST_MS = 10_000;

/** Until when the change time of a directory is trusted (monotonic clock), by directory. */
const trusted = new Map<string, number>();

/**
 * Returns the filesystem's time (ms). A new file always has that time. On local filesystems a touched
 * directory has it, too, which saves creating and removing a file; over a network it may have this host's
 * time, or none (SMB). So it is trusted as long as the time of a new file, made now and then, lies between
 * those of two touches.
 * @param directory the path of `own`, the key for remembering
 * @param name of the file
 */
export function filesystemNow(
  disk: Disk,
  own: Pick<OwnDirectory, 'at' | 'touch'>,
  { directory, name }: { readonly directory: string; readonly name: string },
): number {
  const nowMs = performance.now();
  const before = touch(own);
  if (before !== undefined && nowMs < (trusted.get(directory) ?? 0)) return before;
  const made = timeOfNew(disk, own.at(name));
  const after = touch(own);
  const isBetween = before !== undefined && after !== undefined && before <= made && made <= after;
  if (isBetween) trusted.set(directory, nowMs + TRUST_MS);
  else trusted.delete(directory);
  return made;
}

/** Returns undefined when this process may not touch it. */
function touch(own: Pick<OwnDirectory, 'touch'>): number | undefined {
  try {
    return own.touch();
  } catch (error) {
    if (hasErrno(error, 'EPERM', 'EACCES', 'ENOTSUP', 'EOPNOTSUPP')) return undefined;
    throw error;
  }
}

/**
 * Returns the time of a file that is created and removed for this (ms).
 * @param probe its path
 */
export function timeOfNew(disk: Disk, probe: string): number {
  removeIfThere(disk, probe);
  const fd = disk.open(probe, 'create');
  try {
    return disk.statOpen(fd).ctimeMs;
  } finally {
    disk.close(fd);
    removeIfThere(disk, probe);
  }
}
