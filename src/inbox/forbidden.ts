/**
 * Explains why a drop may not be read or claimed, in a sentence that ends with the command to run. Some tools
 * ignore the umask: umoci makes files readable only by their owner, skopeo directories writable only by their
 * owner.
 */
import { basename, dirname, join } from 'node:path';
import { hasErrno } from '../errors.js';
import { DROP_DEPTH_MAX, FILES_PER_DROP_MAX } from '../image/limits.js';
import type { Disk } from '../storage/disk.js';
import { job } from '../storage/job.js';
import { within } from './signature.js';

export interface ForbiddenDrop {
  readonly inbox: string;
  /** Its path in the inbox. */
  readonly path: string;
}

/** Called after an operation failed with EACCES or EPERM. */
export const whatForbids = job(
  'fast',
  import.meta.url,
  function whatForbids(disk: Disk, { inbox, path }: ForbiddenDrop): string {
    const drop = join(inbox, path);
    const unreadable = firstUnreadable(disk, drop, basename(path), { files: 0 });
    if (unreadable !== undefined) {
      const whose = ownership(disk, join(dirname(drop), unreadable));
      const bits = bitsFor(disk, join(dirname(drop), unreadable));
      return `cannot read ${unreadable}: permission denied (${whose}). Run: chmod -R ${bits} ${quoted(drop)}`;
    }
    const isDirectory = disk.statIfThere(drop)?.kind === 'directory';
    const parent = dirname(drop);
    if (isDirectory && !disk.mayWrite(drop)) {
      return `cannot move its directory: permission denied (${ownership(disk, drop)}). Run: chmod -R ${bitsFor(disk, drop)} ${quoted(drop)}`;
    }
    if (!isDeletable(disk, drop)) {
      return `cannot delete from all of its directories: permission denied. Run: chmod -R ${bitsFor(disk, drop)} ${quoted(drop)}`;
    }
    return `cannot move it out of its directory: permission denied (${ownership(disk, parent)}). Run: chmod g+w,-t ${quoted(parent)}`;
  },
);

/**
 * Returns the first entry that cannot be opened, as a path that begins with the drop's name; undefined if
 * there is none.
 */
function firstUnreadable(
  disk: Disk,
  full: string,
  shown: string,
  walk: { files: number },
  depth = 0,
): string | undefined {
  const kind = disk.statIfThere(full)?.kind;
  if (kind !== 'file' && kind !== 'directory') return undefined;
  let fd: number;
  try {
    fd = disk.open(full, kind === 'file' ? 'read' : 'directory');
  } catch (error) {
    return hasErrno(error, 'EACCES', 'EPERM') ? shown : undefined;
  }
  try {
    if (kind === 'file' || depth >= DROP_DEPTH_MAX) return undefined;
    for (const { name } of disk.list(within(fd))) {
      if (++walk.files > FILES_PER_DROP_MAX) return undefined;
      const found = firstUnreadable(disk, within(fd, name), `${shown}/${name}`, walk, depth + 1);
      if (found !== undefined) return found;
    }
    return undefined;
  } finally {
    disk.close(fd);
  }
}

/**
 * Returns whether this process may delete everything in a directory; true for a file, whose parent decides.
 * A directory that another user replaces meanwhile only makes the answer useless.
 */
export function isDeletable(disk: Disk, path: string, depth = 0): boolean {
  if (depth > DROP_DEPTH_MAX || disk.statIfThere(path)?.kind !== 'directory') return true;
  try {
    if (!disk.mayWrite(path)) return false;
    const directories = disk.list(`${path}/.`).filter(({ kind }) => kind === 'directory');
    return directories.every(({ name }) => isDeletable(disk, `${path}/${name}`, depth + 1));
  } catch (error) {
    if (hasErrno(error, 'ENOENT', 'ENOTDIR')) return true;
    if (hasErrno(error, 'EACCES', 'EPERM')) return false;
    throw error;
  }
}

/** The owner's own bits matter if the directory is the daemon's. */
function bitsFor(disk: Disk, path: string): string {
  return disk.statIfThere(path)?.uid === process.getuid?.() ? 'u+rwX' : 'g+rwX';
}

/** User id shown for users unknown in a user namespace (systemd's PrivateUsers=). */
const OVERFLOW_UID = 65_534;

/** Quotes a path for a shell: the name of a drop is untrusted, and an administrator pastes the command. */
function quoted(path: string): string {
  if (/^[\w@%+=:,./~-]+$/.test(path)) return path;
  return `'${path.replaceAll("'", "'\\''")}'`;
}

function ownership(disk: Disk, path: string): string {
  const stat = disk.statIfThere(path);
  if (stat === undefined) return 'now gone';
  const owner = stat.uid === OVERFLOW_UID ? 'another user' : `user ${stat.uid}`;
  return `${owner}, mode ${stat.mode.toString(8).padStart(4, '0')}`;
}
