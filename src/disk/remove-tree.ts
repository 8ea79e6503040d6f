/**
 * Removes files and trees that somebody else may be changing at this very moment: every step is
 * relative to a directory that was opened and is no link, so that a directory swapped for a link
 * never leads anywhere else. Names are bytes; not every name is text.
 */
import { hasErrno } from '../errors.js';
import type { Disk } from './disk.js';
import { discard, statIfThere } from './durable.js';

/** Deeper directories are moved up first: each level holds a descriptor. */
const DEPTH_MAX = 64;
const ROUNDS_MAX = 5;

/** What somebody else removes meanwhile is fine. */
export function removeTree(disk: Disk, path: string): void {
  const stat = statIfThere(disk, path);
  if (stat === undefined) return;
  if (stat.kind !== 'directory') {
    ignoreMissing(() => disk.unlink(path));
    return;
  }
  // Its owner may go on adding to it for a while, but not for ever.
  for (let round = 1; !removeOnce(disk, path, round === ROUNDS_MAX); round++) {}
}

/** @returns false when something was added while it was emptied */
function removeOnce(disk: Disk, path: string, isLast: boolean): boolean {
  const top = openOrNothing(disk, Buffer.from(path));
  if (top === undefined) return true;
  try {
    // What lay too deep lies at the top by the end of a round.
    while (emptyDirectory(disk, top, { top, depth: 0 })) {}
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
  /** The open directory that everything below is in. */
  readonly top: number;
  readonly depth: number;
}

let serial = 0;

/** @returns true when something had to be moved to the top */
function emptyDirectory(disk: Disk, fd: number, { top, depth }: Place): boolean {
  // Its owner may have made it unwritable for everybody.
  if ((disk.statOpen(fd).mode & 0o700) !== 0o700) discard(() => disk.setMode(fd, 0o700));
  let moved = false;
  for (const { name, kind } of disk.listBytes(below(fd))) {
    const path = Buffer.concat([Buffer.from(`${below(fd)}/`), name]);
    if (kind !== 'directory') ignoreMissing(() => disk.unlink(path));
    else if (depth >= DEPTH_MAX) {
      ignoreMissing(() => disk.rename(path, `${below(top)}/.deep-${process.pid}-${++serial}`));
      moved = true;
    } else if (removeDirectory(disk, path, { top, depth: depth + 1 })) moved = true;
  }
  return moved;
}

function removeDirectory(disk: Disk, path: Buffer, place: Place): boolean {
  const fd = openOrNothing(disk, path);
  // Swapped for a link or a file since it was listed: that is what goes.
  if (fd === undefined) {
    discard(() => disk.unlink(path));
    return false;
  }
  let moved: boolean;
  try {
    moved = emptyDirectory(disk, fd, place);
  } finally {
    disk.close(fd);
  }
  try {
    ignoreMissing(() => disk.removeDirectory(path));
  } catch (error) {
    // Swapped while it was emptied, or added to: another round finds what is there now.
    if (!hasErrno(error, 'ENOTDIR', 'ENOTEMPTY', 'EEXIST')) throw error;
    discard(() => disk.unlink(path));
  }
  return moved;
}

function openOrNothing(disk: Disk, path: Buffer): number | undefined {
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
