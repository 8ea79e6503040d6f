/** Opens an archive drop, compressed or not, and reads its content. */
import { basename, dirname } from 'node:path';
import { DropdockError } from '../errors.js';
import { LISTED_MAX } from '../image/limits.js';
import type { Disk } from '../storage/disk.js';
import { discard } from '../storage/durable.js';
import { InsideDirectory } from '../storage/inside-directory.js';
import type { Progress } from '../storage/progress.js';
import { checkArchiveSpace } from '../storage/space.js';
import type { Bundle } from './file-source.js';
import { isSaveManifest, SAVE_MANIFEST } from './format.js';
import { recogniseArchive, recogniseBundle } from './recognise.js';
import { type Compression, openSpooledBundle } from './spool.js';
import { openTarBundle } from './tar-bundle.js';
import { ARCHIVE_START_BYTES, unsupportedArchive } from './unsupported.js';

export type Packing = 'tar' | Compression;

/** Tools pad an archive to complete records, usually of 10 KiB. */
const PADDING_BYTES_MAX = 1024 * 1024;
const ZEROS_BYTES_MIN = 64 * 1024;

/**
 * Returns how a file is packed; undefined if it is not an archive (yet).
 * @param root must be a path without links
 */
export function packingOf(
  disk: Disk,
  root: string,
  path: string,
): Packing | 'unsupported' | undefined {
  return withArchive(disk, root, path, (_fd, start) => {
    const packing = recogniseArchive(start);
    return packing === undefined && unsupportedArchive(start) ? 'unsupported' : packing;
  });
}

export interface ArchiveToOpen {
  readonly path: string;
  /** Directory for the unpacked members of a compressed archive. */
  readonly spool: string;
  readonly progress: Progress | undefined;
}

/**
 * @throws format.unknown, archive.truncated and all errors of reading an archive
 */
export async function openArchive<T>(
  disk: Disk,
  { path, spool, progress }: ArchiveToOpen,
  use: (bundle: Bundle) => T,
): Promise<T> {
  return withArchive(disk, dirname(path), basename(path), async (fd, start) => {
    const packing = recogniseArchive(start);
    if (packing === undefined) {
      const unsupported = unsupportedArchive(start);
      if (unsupported) throw unsupported;
      throw new DropdockError('format.unknown', 'The file is not an archive.', { path: '.' });
    }
    if (packing !== 'tar') {
      checkArchiveSpace(disk, { place: dirname(spool), size: disk.statOpen(fd).size });
    }
    const bundle =
      packing === 'tar'
        ? openTarBundle(disk, fd, basename(path))
        : await openSpooledBundle(disk, fd, packing, { directory: spool, progress });
    return use(fromImageDirectory(bundle));
  });
}

export interface PlainTar {
  readonly bundle: Bundle;
  /** More bytes follow the end mark than the padding of any tool. */
  readonly isPreallocated: boolean;
}

/**
 * Opens a plain tar. Its members are found without reading all of it.
 * @param root must be a path without links
 */
export function openPlainTar<T>(
  disk: Disk,
  root: string,
  path: string,
  use: (tar: PlainTar) => T,
): T {
  return withArchive(disk, root, path, (fd) => {
    const bundle = openTarBundle(disk, fd, basename(path));
    const isPreallocated = bundle.restBytes > PADDING_BYTES_MAX;
    return use({ bundle: fromImageDirectory(bundle), isPreallocated });
  });
}

/**
 * Returns true if the file ends in zeros. A complete compressed archive does not: its writer reserved the
 * space.
 * @param root must be a path without links
 */
export function endsInZeros(disk: Disk, root: string, path: string): boolean {
  return withArchive(disk, root, path, (fd) => {
    const { size } = disk.statOpen(fd);
    const end = Buffer.alloc(ZEROS_BYTES_MIN);
    if (size <= end.length) return false;
    return disk.read(fd, end, end.length, size - end.length) > 0 && end.every((byte) => byte === 0);
  });
}

function withArchive<T>(
  disk: Disk,
  root: string,
  path: string,
  use: (fd: number, start: Buffer) => T,
): T {
  const fd = openInside(disk, root, path);
  const start = Buffer.alloc(ARCHIVE_START_BYTES);
  let result: T;
  try {
    const count = disk.read(fd, start, start.length, 0);
    result = use(fd, start.subarray(0, count));
  } catch (error) {
    disk.close(fd);
    throw error;
  }
  if (result instanceof Promise) {
    return result.finally(() => disk.close(fd)) as T;
  }
  disk.close(fd);
  return result;
}

/** Closes the directories on the path before anything is read, so that an error leaves no file open. */
function openInside(disk: Disk, root: string, path: string): number {
  let fd: number | undefined;
  try {
    InsideDirectory.use(disk, root, (inside) => {
      fd = inside.open(path)?.fd;
    });
  } catch (error) {
    const opened = fd;
    if (opened !== undefined) discard(() => disk.close(opened));
    throw error;
  }
  if (fd !== undefined) return fd;
  throw new DropdockError('content.missing', 'The archive was removed.', { path: basename(path) });
}

/** `tar c path/to/layout` puts a directory before every name, and the archive may contain other files too. */
function fromImageDirectory(bundle: Bundle): Bundle {
  const names = bundle.names();
  if (recogniseBundle(bundle) !== undefined) return bundle;
  const directories = imageDirectories(bundle);
  const [prefix = onlyDirectory(names)] = directories;
  if (directories.length > 1) {
    const listed = directories.map((directory) => directory.slice(0, -1));
    throw new DropdockError(
      'format.unknown',
      `The archive contains several image directories: ${listed.slice(0, LISTED_MAX).join(', ')}. Create one archive for each.`,
      { path: '.', found: listed.slice(0, LISTED_MAX) },
    );
  }
  if (prefix === '') return bundle;
  const inside = names.filter((name) => name.startsWith(prefix));
  return {
    names: () => inside.map((name) => name.slice(prefix.length)),
    size: (path) => bundle.size(prefix + path),
    read: (path, max) => bundle.read(prefix + path, max),
    source: (path) => bundle.source(prefix + path),
  };
}

/** Returns the topmost directories that contain a file by which an image is recognised. */
function imageDirectories(bundle: Bundle): string[] {
  const held = new Map<string, string[]>();
  for (const path of bundle.names()) {
    const slash = path.lastIndexOf('/') + 1;
    const name = path.slice(slash);
    if (slash === 0 || isAppleDouble(path) || !IMAGE_FILES.has(name)) continue;
    const directory = path.slice(0, slash);
    held.set(directory, [...(held.get(directory) ?? []), name]);
  }
  const depthOf = (directory: string) => directory.split('/').length;
  const found = [...held].filter(
    ([directory, names]) =>
      names.includes('oci-layout') ||
      (names.includes('version') && names.includes(SAVE_MANIFEST)) ||
      (names.includes(SAVE_MANIFEST) && isSaveManifest(bundle, directory + SAVE_MANIFEST)),
  );
  const depth = Math.min(...found.map(([directory]) => depthOf(directory)));
  return found.map(([directory]) => directory).filter((each) => depthOf(each) === depth);
}

const IMAGE_FILES = new Set(['oci-layout', 'version', SAVE_MANIFEST]);

/** Returns the only top directory. `blobs/` is part of a layout. @returns '' if there is none */
function onlyDirectory(names: readonly string[]): string {
  const own = names.filter((name) => !isAppleDouble(name));
  const [first = ''] = own;
  const prefix = first.slice(0, first.indexOf('/') + 1);
  return prefix !== 'blobs/' && own.every((name) => name.startsWith(prefix)) ? prefix : '';
}

/** True for the files that tar on macOS adds for extended attributes. They belong to no image. */
function isAppleDouble(path: string): boolean {
  return /(?:^|\/)(?:\._|__MACOSX\/)/.test(path);
}
