/** The filesystem's own time, which is what change times are compared with. */

import { hasErrno } from '../errors.js';
import type { Disk } from '../storage/disk.js';
import { removeIfThere } from '../storage/durable.js';
import type { OwnDirectory } from './own-directory.js';

/** What was found out about a directory is found out anew after so long: a server's clock may be set. */
const TRUST_MS = 10_000;

/** Until when a directory's change time is taken for the filesystem's, on the monotonic clock. */
const trusted = new Map<string, number>();

/**
 * A new file has the time in any case (ms). A directory that is touched has it as well on local filesystems,
 * and that costs neither a file made nor one removed; over a network it may be this host's time, or
 * none (SMB). So it is believed for as long as a new file's time, now and then, lies between those of two
 * touches.
 * @param directory what `own` is, for what is remembered of it
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

/** Undefined where it is not ours to touch. */
function touch(own: Pick<OwnDirectory, 'touch'>): number | undefined {
  try {
    return own.touch();
  } catch (error) {
    if (hasErrno(error, 'EPERM', 'EACCES', 'ENOTSUP', 'EOPNOTSUPP')) return undefined;
    throw error;
  }
}

/** The time of a file that is made for it, and goes again (ms). @param probe its path */
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
