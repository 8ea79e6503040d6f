/**
 * The verbs with which dropdock touches a filesystem, and the only file that imports node:fs for
 * publishing. All are synchronous: they run on worker threads, never on the event loop. The disk is
 * passed as a value, so that a test can make the k-th verb fail, or kill the process there.
 */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { hasErrno } from '../errors.js';
import { link, rename, symlink } from './lost-answers.js';

export type EntryKind = 'file' | 'directory' | 'symlink' | 'other';

export interface Entry {
  readonly name: string;
  readonly kind: EntryKind;
}

export interface Stat {
  readonly kind: EntryKind;
  /** Bytes. */
  readonly size: number;
  /** Device and inode together name a file as long as it exists. */
  readonly dev: number;
  readonly ino: number;
  readonly links: number;
  readonly uid: number;
  readonly gid: number;
  /** Permission bits only. */
  readonly mode: number;
  /** Milliseconds; content changes. */
  readonly mtimeMs: number;
  /** Milliseconds; every change, set by the filesystem itself. */
  readonly ctimeMs: number;
}

export type OpenMode = 'read' | 'create' | 'update' | 'directory';

export interface Disk {
  list(path: string): Entry[];
  /** Half the time of `list`, where there are very many. */
  names(path: string): string[];
  /** With names as they are on disk, for what must be removed whatever it is called. */
  listBytes(path: string): { readonly name: Buffer; readonly kind: EntryKind }[];
  /** Never follows a link. @throws ENOENT */
  stat(path: string): Stat;
  /** The same; undefined where there is nothing at that path: an exception costs more than the call. */
  statIfThere(path: string): Stat | undefined;
  /** Never follows a link at the end of the path, never blocks on a FIFO. */
  open(path: string | Buffer, mode: OpenMode): number;
  statOpen(fd: number): Stat;
  /** @returns bytes read; 0 at the end */
  read(fd: number, into: Uint8Array, length: number, position: number): number;
  /** May write less than asked for. @returns bytes written */
  write(fd: number, from: Uint8Array, offset: number, position: number): number;
  setMode(fd: number, mode: number): void;
  /** @param seconds since the epoch */
  setTime(fd: number, seconds: number): void;
  sync(fd: number): void;
  /**
   * Everything that was written to the filesystem a path lies on, by whomever.
   * @returns false when it cannot be done, or something could not be written
   */
  syncFilesystem(path: string): boolean;
  close(fd: number): void;
  makeDirectory(path: string): void;
  link(existing: string, path: string): void;
  symlink(target: string, path: string): void;
  readLink(path: string): string;
  rename(from: string | Buffer, to: string): void;
  unlink(path: string | Buffer): void;
  removeDirectory(path: string | Buffer): void;
  /**
   * Leaves a directory and all below it to rm(1), which need not look a whole path up for each name.
   * It may leave something, or everything: whoever asks looks again.
   */
  removeByProgram(path: string): void;
  /** Bytes that an ordinary user may still write to the filesystem a path lies on. */
  free(path: string): { readonly bytes: number; readonly hasReflinks: boolean };
  /** Copies as a reflink or not at all. */
  clone(from: string, to: string): void;
}

const { O_RDONLY, O_RDWR, O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_DIRECTORY } = fs.constants;

const OPEN_FLAGS: Readonly<Record<OpenMode, number>> = {
  read: O_RDONLY | O_NOFOLLOW | O_NONBLOCK,
  create: O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW,
  update: O_RDWR | O_NOFOLLOW | O_NONBLOCK,
  directory: O_RDONLY | O_NOFOLLOW | O_DIRECTORY,
};

/** Filesystems that can share blocks between files, by their magic numbers (statfs(2)): btrfs, XFS. */
const WITH_REFLINKS: ReadonlySet<number> = new Set([0x9123683e, 0x58465342]);

/**
 * The most that one call writes, and so the most that ext4 takes from free memory in one piece. Measured
 * (Linux 6.18): 1 GiB in pieces of 256 KiB takes 0.44 s of the kernel's time, of 1 MiB 1.05 s, of 4 MiB
 * 2.1 s. That is so on a virtual machine that gives its largest free pieces back to the host; where
 * as much was freed a moment before, pieces of 1 MiB cost no more (0.23 s both).
 */
const WRITE_BYTES_MAX = 256 * 1024;

export const nodeDisk: Disk = {
  list: (path) =>
    fs.readdirSync(path, { withFileTypes: true }).map((entry) => ({
      name: entry.name,
      kind: kindOf(entry),
    })),
  names: (path) => fs.readdirSync(path),
  listBytes: (path) =>
    fs.readdirSync(path, { withFileTypes: true, encoding: 'buffer' }).map((entry) => ({
      name: entry.name as unknown as Buffer,
      kind: kindOf(entry as unknown as fs.Dirent),
    })),
  stat: (path) => toStat(fs.lstatSync(path)),
  statIfThere,
  open: (path, mode) => fs.openSync(path, OPEN_FLAGS[mode], 0o644),
  statOpen: (fd) => toStat(fs.fstatSync(fd)),
  read: readThroughSignals,
  write: (fd, from, offset, position) =>
    fs.writeSync(fd, from, offset, Math.min(from.length - offset, WRITE_BYTES_MAX), position),
  setMode: (fd, mode) => fs.fchmodSync(fd, mode),
  setTime: (fd, seconds) => fs.futimesSync(fd, seconds, seconds),
  sync: (fd) => fs.fsyncSync(fd),
  syncFilesystem,
  close: (fd) => fs.closeSync(fd),
  makeDirectory: (path) => fs.mkdirSync(path),
  link,
  symlink,
  readLink: (path) => fs.readlinkSync(path),
  rename,
  unlink: (path) => fs.unlinkSync(path),
  removeDirectory: (path) => fs.rmdirSync(path),
  removeByProgram: (path) => {
    spawnSync('rm', ['-rf', '--', path], { stdio: 'ignore' });
  },
  free: (path) => {
    const { bavail, bsize, type } = fs.statfsSync(path);
    return { bytes: bavail * bsize, hasReflinks: WITH_REFLINKS.has(type) };
  },
  clone: (from, to) =>
    fs.copyFileSync(from, to, fs.constants.COPYFILE_EXCL | fs.constants.COPYFILE_FICLONE_FORCE),
};

function statIfThere(path: string): Stat | undefined {
  try {
    const stat = fs.lstatSync(path, { throwIfNoEntry: false });
    return stat && toStat(stat);
  } catch (error) {
    // What should be a directory on the way there is none.
    if (hasErrno(error, 'ENOTDIR', 'ELOOP')) return undefined;
    throw error;
  }
}

/** Node has no syncfs(2); coreutils' sync has, and tells by its exit code when it fails. */
function syncFilesystem(path: string): boolean {
  return spawnSync('sync', ['--file-system', path], { stdio: 'ignore' }).status === 0;
}

/** Node begins every call anew that a signal cut off (NFS, FUSE), but for a read. */
function readThroughSignals(
  fd: number,
  into: Uint8Array,
  length: number,
  position: number,
): number {
  for (;;) {
    try {
      return fs.readSync(fd, into, 0, length, position);
    } catch (error) {
      if (!hasErrno(error, 'EINTR')) throw error;
    }
  }
}

function toStat(stat: fs.Stats): Stat {
  return {
    kind: kindOf(stat),
    size: stat.size,
    dev: stat.dev,
    ino: stat.ino,
    links: stat.nlink,
    uid: stat.uid,
    gid: stat.gid,
    mode: stat.mode & 0o7777,
    mtimeMs: stat.mtimeMs,
    ctimeMs: stat.ctimeMs,
  };
}

function kindOf(entry: fs.Stats | fs.Dirent): EntryKind {
  if (entry.isFile()) return 'file';
  if (entry.isDirectory()) return 'directory';
  return entry.isSymbolicLink() ? 'symlink' : 'other';
}
