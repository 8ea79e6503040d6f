/** Opens an archive drop, whatever it is packed in, and reads what it holds. */
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

/** Tools pad an archive to whole records, of 10 KiB mostly. */
const PADDING_BYTES_MAX = 1024 * 1024;
const ZEROS_BYTES_MIN = 64 * 1024;

/**
 * What a file is packed in; undefined for a file that is no archive (yet).
 * @param root no link leads from there to it
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
  /** Where the members of a compressed archive are written. */
  readonly spool: string;
  readonly progress: Progress | undefined;
}

/**
 * @throws format.unknown, archive.truncated and all that reading an archive throws
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
      throw new DropdockError('format.unknown', 'The file is no archive.', { path: '.' });
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
  /** More follows its end mark than tools pad with. */
  readonly isPreallocated: boolean;
}

/**
 * Only for a plain tar, whose members are found without reading it all.
 * @param root no link leads from there to it
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

/** No compressed archive does: its writer made room for the rest. @param root no link leads from there to it */
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

/** The directories on the way are closed before anything is read: what is thrown then leaves nothing running. */
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
  throw new DropdockError('content.missing', 'The archive is gone.', { path: basename(path) });
}

/** `tar c path/to/layout` puts a directory before every name, and other files may lie beside that. */
function fromImageDirectory(bundle: Bundle): Bundle {
  const names = bundle.names();
  if (recogniseBundle(bundle) !== undefined) return bundle;
  const directories = imageDirectories(bundle);
  const [prefix = onlyDirectory(names)] = directories;
  if (directories.length > 1) {
    const listed = directories.map((directory) => directory.slice(0, -1));
    throw new DropdockError(
      'format.unknown',
      `The archive holds the directories of several images: ${listed.slice(0, LISTED_MAX).join(', ')}. Make an archive of each.`,
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

/** The directories, nearest to the top, that hold the files an image is recognised by. */
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

/** `blobs/` is part of a layout. @returns '' where there is none */
function onlyDirectory(names: readonly string[]): string {
  const own = names.filter((name) => !isAppleDouble(name));
  const [first = ''] = own;
  const prefix = first.slice(0, first.indexOf('/') + 1);
  return prefix !== 'blobs/' && own.every((name) => name.startsWith(prefix)) ? prefix : '';
}

/** What tar on macOS adds for each file and directory: attributes no image has. */
function isAppleDouble(path: string): boolean {
  return /(?:^|\/)(?:\._|__MACOSX\/)/.test(path);
}
