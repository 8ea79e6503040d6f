/**
 * Why a drop may not be read or taken, in a sentence that ends with what to do. Tools give away less
 * than people think, whatever the umask is: umoci makes files for their owner alone, skopeo
 * directories that only their owner may write.
 */
import { basename, dirname, join } from 'node:path';
import { hasErrno } from '../errors.js';
import { DROP_DEPTH_MAX, FILES_PER_DROP_MAX } from '../image/limits.js';
import type { Disk } from '../storage/disk.js';
import { job } from '../storage/job.js';
import { within } from './signature.js';

export interface ForbiddenDrop {
  readonly inbox: string;
  /** Below the inbox. */
  readonly path: string;
}

/** To be asked after something was answered with EACCES or EPERM. */
export const whatForbids = job(
  'fast',
  import.meta.url,
  function whatForbids(disk: Disk, { inbox, path }: ForbiddenDrop): string {
    const drop = join(inbox, path);
    const unreadable = firstUnreadable(disk, drop, basename(path), { files: 0 });
    if (unreadable !== undefined) {
      const whose = ownership(disk, join(dirname(drop), unreadable));
      return `${unreadable} may not be read (${whose}): chmod -R g+rwX ${quoted(drop)}`;
    }
    const isDirectory = disk.statIfThere(drop)?.kind === 'directory';
    const parent = dirname(drop);
    if (isDirectory && !isForOthers(disk, drop)) {
      return `its directory may not be taken (${ownership(disk, drop)}): chmod -R g+rwX ${quoted(drop)}`;
    }
    return `nothing may be taken out of its directory (${ownership(disk, parent)}): chmod g+w,-t ${quoted(parent)}`;
  },
);

/** What may not be opened, by its path from the drop's own name on; undefined where all may. */
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

/** Its group, or everybody, may write to it. */
function isForOthers(disk: Disk, path: string): boolean {
  return ((disk.statIfThere(path)?.mode ?? 0) & 0o022) !== 0;
}

/** What users that a namespace does not know are shown as (systemd's PrivateUsers=). */
const OVERFLOW_UID = 65_534;

/** For a shell: whoever made the drop chose its name, and the command is pasted by root. */
function quoted(path: string): string {
  if (/^[\w@%+=:,./~-]+$/.test(path)) return path;
  return `'${path.replaceAll("'", "'\\''")}'`;
}

function ownership(disk: Disk, path: string): string {
  const stat = disk.statIfThere(path);
  if (stat === undefined) return 'gone by now';
  const owner = stat.uid === OVERFLOW_UID ? 'another user' : `user ${stat.uid}`;
  return `${owner}, mode ${stat.mode.toString(8).padStart(4, '0')}`;
}
