/**
 * All filesystem operations of a publish; no other file imports node:fs for this. They are synchronous,
 * because they run on worker threads and never on the event loop. The disk is passed as a value, so that a
 * test can make the k-th operation fail, or kill the process there.
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
  /** Device and inode identify a file as long as it exists. */
  readonly dev: number;
  readonly ino: number;
  readonly links: number;
  readonly uid: number;
  readonly gid: number;
  /** Permission bits only. */
  readonly mode: number;
  /** Milliseconds; changes of the content. */
  readonly mtimeMs: number;
  /** Milliseconds; any change, set by the filesystem. */
  readonly ctimeMs: number;
}

export type OpenMode = 'read' | 'create' | 'update' | 'directory';

export interface Disk {
  list(path: string): Entry[];
  /** Twice as fast as `list` for very large directories. */
  names(path: string): string[];
  /** With names as bytes: entries must be deletable even if their names are not UTF-8. */
  listBytes(path: string): { readonly name: Buffer; readonly kind: EntryKind }[];
  /**
   * Does not follow a link at the end of the path.
   * @throws ENOENT
   */
  stat(path: string): Stat;
  /** Same as `stat`; returns undefined when there is nothing. An exception costs more than the call. */
  statIfThere(path: string): Stat | undefined;
  /** Does not follow a link at the end of the path, and does not block on a FIFO. */
  open(path: string | Buffer, mode: OpenMode): number;
  /**
   * Whether this process may write there; never on a read-only filesystem. access(2)
   * @throws ENOENT
   */
  mayWrite(path: string): boolean;
  statOpen(fd: number): Stat;
  /** @returns bytes read; 0 at the end */
  read(fd: number, into: Uint8Array, length: number, position: number): number;
  /**
   * May write fewer bytes than requested.
   * @returns bytes written
   */
  write(fd: number, from: Uint8Array, offset: number, position: number): number;
  setMode(fd: number, mode: number): void;
  /** @param seconds since the epoch */
  setTime(fd: number, seconds: number): void;
  sync(fd: number): void;
  /**
   * Syncs the whole filesystem that the path is on, including files written by other processes.
   * @returns false when this is not possible, or something could not be written
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
   * Deletes a directory tree with rm(1), which need not resolve a whole path for each name. It may leave
   * entries; the caller must check.
   */
  removeByProgram(path: string): void;
  /** Returns the free bytes available to an ordinary user on the filesystem that the path is on. */
  free(path: string): { readonly bytes: number; readonly hasReflinks: boolean };
  /** Copies as a reflink or fails. */
  clone(from: string, to: string): void;
}

const { O_RDONLY, O_RDWR, O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_DIRECTORY } = fs.constants;

const OPEN_FLAGS: Readonly<Record<OpenMode, number>> = {
  read: O_RDONLY | O_NOFOLLOW | O_NONBLOCK,
  create: O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW,
  update: O_RDWR | O_NOFOLLOW | O_NONBLOCK,
  directory: O_RDONLY | O_NOFOLLOW | O_DIRECTORY,
};

/** Magic numbers (statfs(2)) of filesystems with reflinks: btrfs, XFS. */
const WITH_REFLINKS: ReadonlySet<number> = new Set([0x9123683e, 0x58465342]);

/**
 * Largest single write, and so the largest piece that ext4 allocates from free memory. Measured (Linux 6.18):
 * 1 GiB in pieces of 256 KiB takes 0.44 s of kernel time, of 1 MiB 1.05 s, of 4 MiB 2.1 s, on a virtual
 * machine that returns its largest free pieces to the host. When as much memory was freed just before, 1 MiB
 * costs no more (0.23 s both).
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
  mayWrite,
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

function mayWrite(path: string): boolean {
  try {
    fs.accessSync(path, fs.constants.W_OK);
    return true;
  } catch (error) {
    if (hasErrno(error, 'EACCES', 'EPERM', 'EROFS')) return false;
    throw error;
  }
}

function statIfThere(path: string): Stat | undefined {
  try {
    const stat = fs.lstatSync(path, { throwIfNoEntry: false });
    return stat && toStat(stat);
  } catch (error) {
    // A parent in the path is not a directory.
    if (hasErrno(error, 'ENOTDIR', 'ELOOP')) return undefined;
    throw error;
  }
}

/** Node has no syncfs(2). The sync command of coreutils has, and its exit code reports failures. */
function syncFilesystem(path: string): boolean {
  return spawnSync('sync', ['--file-system', path], { stdio: 'ignore' }).status === 0;
}

/** Node retries every call that a signal interrupted (NFS, FUSE), except reads. */
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
