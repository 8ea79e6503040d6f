/** Walks the inbox and returns the drops in it, the signature of each, and ignored entries. */

import { DropdockError, hasErrno, isSystemError } from '../errors.js';
import { DOCKER_SAVE_MANIFEST_BYTES_MAX, DROP_DEPTH_MAX } from '../image/limits.js';
import { hasExtension, isBusyName, whyTooLong } from '../image/names.js';
import type { Disk, Entry } from '../storage/disk.js';
import { readFile } from '../storage/durable.js';
import type { InboxPlace } from './claim.js';
import { filesystemNow } from './filesystem-time.js';
import { whatForbids } from './forbidden.js';
import { claimedDirectory, clockFile } from './inbox-paths.js';
import { forgetLeft, type LeftDrop, leftFile, readLeft } from './left.js';
import { inOwn } from './own-directory.js';
import {
  type DropSignature,
  fileSignature,
  openDirectory,
  treeSignature,
  within,
} from './signature.js';

/** A drop as found by one scan. */
export interface Observation extends DropSignature {
  /** Its path in the inbox. */
  readonly path: string;
  readonly kind: 'directory' | 'file';
  /** False for a directory that may be a namespace; it is never rejected. */
  readonly isCertain: boolean;
  /** False when a required marker file is missing. */
  readonly isMarked: boolean;
}

export interface ScanRequest extends InboxPlace {
  /** What a marker file adds to the name of its drop; undefined when none is required. */
  readonly marker: string | undefined;
  /** The process that reads the filesystem time when there are drops; when absent, it is not read. */
  readonly clock?: string;
  /** True if drops are removed in any case (inbox.after: remove): records of drops that stay do not count. */
  readonly removes?: boolean;
}

export interface Ignored {
  readonly path: string;
  readonly reason: string;
  /** It may be a drop, but cannot be read. */
  readonly isUnreadable: boolean;
}

export interface ScanResult {
  readonly drops: readonly Observation[];
  /** Entries that are not claimed, and why. */
  readonly ignored: readonly Ignored[];
  /** Drops that were claimed by a copy, are unchanged and stay in the inbox, and why. */
  readonly left: readonly LeftDrop[];
  /** Directories in which drops may appear, relative to the inbox; '' is the inbox itself. */
  readonly directories: readonly string[];
  /** The filesystem's time after the scan (ms); undefined when not requested or nothing was found. */
  readonly filesystemMs?: number | undefined;
}

/** Returns whether the entries of a directory belong to an image, or to the beginning of one. */
export type IsImage = (entries: readonly Entry[]) => boolean;

/** Returns the directories that belong to an image, according to its manifest.json. */
export type DirectoriesOfImage = (manifest: Buffer) => ReadonlySet<string>;

/** @throws when the inbox itself cannot be read; errors below it are in `ignored` */
export function scanInbox(
  disk: Disk,
  request: ScanRequest,
  isImage: IsImage,
  directoriesOf: DirectoriesOfImage = () => new Set(),
): ScanResult {
  const scan = new Scan(disk, request, isImage, directoriesOf);
  const root = disk.open(request.inbox, 'directory');
  try {
    scan.nameSpace(root, '', disk.list(within(root)), 0);
  } finally {
    disk.close(root);
  }
  const { drops, ignored, left, directories } = scan;
  const { clock, inbox, own: ownInbox = inbox } = request;
  if (clock === undefined) return { drops, ignored, left, directories };
  forgetLeft(disk, ownInbox, scan.outdated());
  if (drops.length === 0) return { drops, ignored, left, directories };
  const filesystemMs = inOwn(disk, claimedDirectory(ownInbox), (own) =>
    filesystemNow(disk, own, { directory: ownInbox, name: clockFile(clock) }),
  );
  return { drops, ignored, left, directories, filesystemMs };
}

class Scan implements ScanResult {
  readonly drops: Observation[] = [];
  readonly ignored: Ignored[] = [];
  readonly left: LeftDrop[] = [];
  readonly #records: ReadonlyMap<string, LeftDrop>;
  readonly #current = new Set<string>();
  readonly directories: string[] = [];

  constructor(
    readonly disk: Disk,
    readonly request: ScanRequest,
    readonly isImage: IsImage,
    readonly directoriesOf: DirectoriesOfImage,
  ) {
    const { inbox, own = inbox, removes } = request;
    this.#records = removes ? new Map() : readLeft(disk, own);
  }

  /** Returns the records whose drops are gone or have changed. What cannot be read may still be there. */
  outdated(): string[] {
    const unknown = this.ignored.map(({ path }) => path);
    return [...this.#records]
      .filter(([name]) => !this.#current.has(name))
      .filter(([, { path }]) => !unknown.some((each) => `${path}/`.startsWith(`${each}/`)))
      .map(([name]) => name);
  }

  /** Every step goes from an open directory to one of its entries, without following links. */
  nameSpace(fd: number, path: string, entries: readonly Entry[], depth: number): void {
    this.directories.push(path);
    for (const entry of entries) {
      if (isBusyName(entry.name)) continue;
      const below = path === '' ? entry.name : `${path}/${entry.name}`;
      try {
        this.#entry(fd, below, entry, entries, depth);
      } catch (error) {
        // An unreadable entry must not hide the others.
        if (!isSystemError(error)) throw error;
        const isUnreadable = hasErrno(error, 'EACCES', 'EPERM', 'EIO');
        this.#ignore(below, `it cannot be read (${error.code})`, isUnreadable);
      }
    }
  }

  #entry(fd: number, path: string, entry: Entry, siblings: readonly Entry[], depth: number): void {
    const { name, kind } = entry;
    const { marker } = this.request;
    // A longer path would make the names of claim and receipt too long for the filesystem.
    const tooLong = whyTooLong(path);
    if (tooLong !== undefined) {
      this.#ignore(path, `its path is ${tooLong}`);
    } else if (kind === 'directory') {
      if (depth < DROP_DEPTH_MAX) this.#directory(fd, name, path, depth);
      else this.#ignore(path, 'directories are nested too deeply');
    } else if (kind === 'file') {
      if (isMarker(siblings, name, marker)) return;
      const look = () => fileSignature(this.disk, within(fd, name));
      this.#observe(fd, name, { path, kind: 'file', isCertain: true, look });
    } else this.#ignore(path, kind === 'symlink' ? 'a link' : 'a special file');
  }

  #directory(parent: number, name: string, path: string, depth: number): void {
    const fd = openDirectory(this.disk, within(parent, name));
    if (fd === 'denied') {
      const { inbox } = this.request;
      this.#ignore(path, whatForbids(this.disk, { inbox, path }), true);
    }
    if (typeof fd !== 'number') return;
    try {
      const entries = this.disk.list(within(fd));
      const drop = this.#isDrop(fd, name, entries);
      if (drop !== 'no') {
        const look = () => treeSignature(this.disk, fd, entries);
        this.#observe(parent, name, {
          path,
          kind: 'directory',
          isCertain: drop === 'certain',
          look,
        });
        return;
      }
      const nested = this.isImage(entries);
      if (nested) this.#ignore(path, 'an image beside other directories; give it one of its own');
      // Files of that image are reported with it.
      const inside = nested ? this.#foreign(fd, entries) : entries;
      this.nameSpace(fd, path, inside, depth + 1);
    } finally {
      this.disk.close(fd);
    }
  }

  /**
   * Decides whether a directory is a drop or a namespace. 'perhaps': it only begins to look like a drop,
   * since tools write files in any order. Subdirectories that belong to no image may be other drops and must
   * not be claimed with it.
   */
  #isDrop(fd: number, name: string, entries: readonly Entry[]): 'certain' | 'perhaps' | 'no' {
    const directories = entries.filter(({ kind }) => kind === 'directory');
    if (this.#foreign(fd, entries).length > 0) return 'no';
    if (this.isImage(entries)) return 'certain';
    // Repository names cannot contain these characters, so it must be a drop.
    const isNamedAsDrop = /[:=@]/.test(name);
    if (this.#isMadeOfPieces(fd, entries)) return isNamedAsDrop ? 'certain' : 'perhaps';
    if (entries.some((each) => /^(?:oci|dir)-put-blob|^ingest$/.test(each.name))) return 'perhaps';
    if (directories.some((each) => each.name === 'blobs')) {
      const inside = openDirectory(this.disk, within(fd, 'blobs'));
      if (typeof inside !== 'number') return 'perhaps';
      const names = this.disk.list(within(inside)).map((each) => each.name);
      this.disk.close(inside);
      if (names.length === 0 || names.some((each) => /^sha(256|512)$/.test(each))) return 'perhaps';
    }
    // Host and port of a registry: a mirror's directory, which is empty after its drops were claimed.
    const shown = entries.filter((each) => !isBusyName(each.name));
    if (/[:=]\d{1,5}$/.test(name) && shown.every(isArchive)) return 'no';
    return isNamedAsDrop && directories.length === 0 ? 'certain' : 'no';
  }

  /** Returns directories that belong to no image; they may be other drops. */
  #foreign(fd: number, entries: readonly Entry[]): readonly Entry[] {
    const unknown = entries.filter(
      ({ name, kind }) =>
        kind === 'directory' && name !== 'blobs' && !isBusyName(name) && !isLegacyLayer(name),
    );
    if (unknown.length === 0 || !entries.some(({ name }) => name === 'manifest.json')) {
      return unknown;
    }
    const own = this.#namedBy(within(fd, 'manifest.json'));
    return unknown.filter(({ name }) => !own.has(name));
  }

  #namedBy(path: string): ReadonlySet<string> {
    try {
      return this.directoriesOf(readFile(this.disk, path, DOCKER_SAVE_MANIFEST_BYTES_MAX));
    } catch (error) {
      // manifest.json is too long, a link, or gone: it names no directories.
      if (error instanceof DropdockError || isSystemError(error)) return new Set();
      throw error;
    }
  }

  /**
   * Returns whether there are only parts of images and nothing that names them yet: an unpacked
   * docker-archive or skopeo's dir: that is being written. Its layers are tars, which must not be claimed as
   * drops.
   */
  #isMadeOfPieces(fd: number, entries: readonly Entry[]): boolean {
    const seen = entries.filter(({ name }) => !isBusyName(name));
    const isPiece = ({ name, kind }: Entry) =>
      kind === 'directory'
        ? name === 'blobs' || this.#isLayerDirectory(fd, name)
        : PIECE.test(name);
    return seen.some(({ name }) => NAMED_BY_DIGEST.test(name)) && seen.every(isPiece);
  }

  #isLayerDirectory(fd: number, name: string): boolean {
    if (!isLegacyLayer(name)) return false;
    const inside = openDirectory(this.disk, within(fd, name));
    if (typeof inside !== 'number') return true;
    try {
      return this.disk.list(within(inside)).every((each) => LAYER_FILE.test(each.name));
    } finally {
      this.disk.close(inside);
    }
  }

  #observe(
    parent: number,
    name: string,
    {
      look,
      ...drop
    }: Pick<Observation, 'path' | 'kind' | 'isCertain'> & { readonly look: () => DropSignature },
  ): void {
    const { marker } = this.request;
    const isMarked =
      marker === undefined || this.disk.statIfThere(within(parent, name + marker)) !== undefined;
    const seen = look();
    if (this.#isLeft(within(parent, name), drop.path, seen.signature)) return;
    this.drops.push({ ...drop, isMarked, ...seen });
  }

  #isLeft(full: string, path: string, signature: string): boolean {
    if (this.#records.size === 0) return false;
    const name = this.#leftFile(full, path, signature);
    const left = name === undefined ? undefined : this.#records.get(name);
    if (name === undefined || left === undefined) return false;
    this.#current.add(name);
    // The path of a record is not trusted.
    this.left.push({ ...left, path });
    return true;
  }

  /** Returns undefined when the drop is gone. */
  #leftFile(full: string, path: string, signature: string): string | undefined {
    try {
      return leftFile(this.disk, full, path, signature);
    } catch (error) {
      if (hasErrno(error, 'ENOENT')) return undefined;
      throw error;
    }
  }

  #ignore(path: string, reason: string, isUnreadable = false): void {
    this.ignored.push({ path: path.slice(0, 300), reason, isUnreadable });
  }
}

/** Name of a config, layer or manifest in docker-archives and in skopeo's dir:. */
const NAMED_BY_DIGEST =
  /^(?:sha256[:_-]+)?[0-9a-f]{64}(?:\.json|\.manifest\.json|\.tar|\.tar\.gz|\.tar\.zst)?$/;
/** Files in a layer directory of a legacy docker-archive. */
const LAYER_FILE = /^(?:VERSION|json|layer\.tar)$/;
const PIECE = new RegExp(`${NAMED_BY_DIGEST.source}|${LAYER_FILE.source}|^repositories$`);

/** An unpacked legacy docker-archive has one directory per layer. */
function isLegacyLayer(name: string): boolean {
  return /^[0-9a-f]{64}$/.test(name);
}

/** Returns whether the name is that of an archive, and not of an image file that is being written. */
function isArchive({ kind, name }: Entry): boolean {
  const isNamed = hasExtension(name) || /[:=@]/.test(name);
  return kind === 'file' && isNamed && !/^[0-9a-f]{64}\./.test(name);
}

function isMarker(entries: readonly Entry[], name: string, marker: string | undefined): boolean {
  if (marker === undefined || !name.endsWith(marker)) return false;
  return entries.some((entry) => entry.name === name.slice(0, -marker.length));
}
