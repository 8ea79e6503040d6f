/**
 * Deletes files and trees that another user may be changing at the same time. Every step is relative to an
 * open directory that is not a link, so replacing a directory by a link reaches nothing else. Names are
 * bytes, since some are not valid text. Valid names are handled as text: with a kind and a Buffer for each,
 * an entry took 13.3 µs instead of 10.2 (`rm -rf`: 8.6, ext4).
 */
import { randomUUID } from 'node:crypto';
import { hasErrno } from '../errors.js';
import type { Disk } from './disk.js';
import { discard } from './durable.js';

/** Deeper directories are moved up first, because each level holds a descriptor. */
const DEPTH_MAX = 64;
const ROUNDS_MAX = 5;
/** Length of a path. The kernel accepts 4,096 bytes, and a name has at most 255. */
const PATH_LENGTH_MAX = 1024;
/**
 * Number of names from which `rm` is used. During publishes, 2.5 million names took 26 s one by one, and 17
 * with `rm -rf` (measured).
 */
const PROGRAM_NAMES_MIN = 5000;
/** Replaces bytes that are not valid text. */
const NO_TEXT = '\uFFFD';

/** Ignores entries that another process deletes meanwhile. */
export function removeTree(disk: Disk, path: string): void {
  remove(disk, path, 'anybody');
}

/**
 * Same as `removeTree`, for places where only this process can replace directories. It uses whole paths: 8.8
 * µs per entry (measured; through /proc 10.2, `rm -rf` 8.6).
 */
export function removeOwnTree(disk: Disk, path: string): void {
  remove(disk, path, 'us');
}

/** Who may change entries meanwhile. */
type Changer = 'anybody' | 'us';

function remove(disk: Disk, path: string, changer: Changer): void {
  const stat = disk.statIfThere(path);
  if (stat === undefined) return;
  if (stat.kind !== 'directory') {
    ignoreMissing(() => disk.unlink(path));
    return;
  }
  // Its owner may go on adding entries for a while, so the number of rounds is limited.
  for (let round = 1; !removeOnce(disk, path, changer, round === ROUNDS_MAX); round++) {}
}

/** @returns false when entries were added meanwhile */
function removeOnce(disk: Disk, path: string, changer: Changer, isLast: boolean): boolean {
  const top = openOrNothing(disk, path);
  if (top === undefined) return true;
  try {
    // At the end of a round, directories that were too deep are at the top.
    while (emptyDirectory(disk, { fd: top, path }, { top, changer, depth: 0 })) {}
  } finally {
    disk.close(top);
  }
  try {
    ignoreMissing(() => disk.removeDirectory(path));
    return true;
  } catch (error) {
    if (isLast || !hasErrno(error, 'ENOTEMPTY', 'EEXIST')) throw error;
    return false;
  }
}

interface Place {
  /** The open top directory. */
  readonly top: number;
  readonly changer: Changer;
  readonly depth: number;
}

interface OpenDirectory {
  readonly fd: number;
  readonly path: string | Buffer;
}

/** @returns true when something was moved to the top */
function emptyDirectory(disk: Disk, { fd, path }: OpenDirectory, place: Place): boolean {
  // Its owner may have made it unwritable.
  if ((disk.statOpen(fd).mode & 0o700) !== 0o700) discard(() => disk.setMode(fd, 0o700));
  let moved = false;
  let isTextAll = true;
  const isByPath =
    place.changer === 'us' && typeof path === 'string' && path.length < PATH_LENGTH_MAX;
  const inside = isByPath ? `${path}/` : `${below(fd)}/`;
  let names = disk.names(below(fd));
  if (isByPath && names.length >= PROGRAM_NAMES_MIN) {
    disk.removeByProgram(path);
    if (disk.statIfThere(path) === undefined) return false;
    names = disk.names(below(fd));
  }
  for (const name of names) {
    // A name that is not valid text cannot be used in this form.
    if (name.includes(NO_TEXT)) isTextAll = false;
    else if (removeEntry(disk, inside + name, place)) moved = true;
  }
  if (isTextAll) return moved;
  for (const { name } of disk.listBytes(below(fd))) {
    const entry = Buffer.concat([Buffer.from(`${below(fd)}/`), name]);
    if (removeEntry(disk, entry, place)) moved = true;
  }
  return moved;
}

/** Nearly all entries are files. Asking for each kind costs more than handling the errors of the others. */
function removeEntry(disk: Disk, path: string | Buffer, place: Place): boolean {
  const { top, depth } = place;
  try {
    disk.unlink(path);
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return false;
    if (!hasErrno(error, 'EISDIR')) throw error;
    if (depth < DEPTH_MAX) return removeDirectory(disk, path, { ...place, depth: depth + 1 });
    ignoreMissing(() => disk.rename(path, `${below(top)}/.deep-${randomUUID()}`));
    return true;
  }
  return false;
}

function removeDirectory(disk: Disk, path: string | Buffer, place: Place): boolean {
  const fd = openOrNothing(disk, path);
  // Replaced by a link or file since it was listed; that is deleted.
  if (fd === undefined) {
    discard(() => disk.unlink(path));
    return false;
  }
  let moved: boolean;
  try {
    moved = emptyDirectory(disk, { fd, path }, place);
  } finally {
    disk.close(fd);
  }
  try {
    ignoreMissing(() => disk.removeDirectory(path));
  } catch (error) {
    // Replaced or added to meanwhile; the next round handles what is there now.
    if (!hasErrno(error, 'ENOTDIR', 'ENOTEMPTY', 'EEXIST')) throw error;
    discard(() => disk.unlink(path));
  }
  return moved;
}

function openOrNothing(disk: Disk, path: string | Buffer): number | undefined {
  try {
    return disk.open(path, 'directory');
  } catch (error) {
    if (hasErrno(error, 'ENOENT', 'ENOTDIR', 'ELOOP')) return undefined;
    throw error;
  }
}

function below(fd: number): string {
  return `/proc/self/fd/${fd}`;
}

function ignoreMissing(remove: () => void): void {
  try {
    remove();
  } catch (error) {
    if (!hasErrno(error, 'ENOENT')) throw error;
  }
}
