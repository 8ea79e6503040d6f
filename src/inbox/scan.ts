/** Walks the inbox: which drops are there, what each looked like, what else lies about. */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import type { Disk, Entry } from '../disk/disk.js';
import { listIfThere, removeIfThere, statIfThere } from '../disk/durable.js';
import { hasErrno } from '../errors.js';
import { DROP_DEPTH_MAX, DROP_NAME_MAX, FILES_PER_DROP_MAX } from '../image/limits.js';
import { isBusyName } from '../image/names.js';

/** A drop as one look at it found it. */
export interface Observation {
  /** Below the inbox. */
  readonly path: string;
  readonly kind: 'directory' | 'file';
  /** Changes whenever anything in the drop changes; survives being renamed. */
  readonly signature: string;
  /** The filesystem's time of the newest change (ms). */
  readonly newestMs: number;
  /** A name inside it that a tool uses while it is writing. */
  readonly busy: string | undefined;
  /** False for a directory that may as well be a name space: it is never rejected. */
  readonly isCertain: boolean;
  /** False when a marker file is wanted and not there yet. */
  readonly isMarked: boolean;
}

export interface ScanRequest {
  readonly inbox: string;
  /** Only what lies below this path; everything where it is left out. */
  readonly below?: string;
  /** What a marker file adds to the name of its drop; undefined when none is wanted. */
  readonly marker: string | undefined;
}

export interface ScanResult {
  readonly drops: readonly Observation[];
  /** What is not taken, and why. */
  readonly ignored: readonly { readonly path: string; readonly reason: string }[];
  /** Directories in which drops may appear; below the inbox, '' for itself. */
  readonly directories: readonly string[];
}

/** Tells by its entries whether a directory holds an image, or is about to. */
export type IsImage = (entries: readonly Entry[]) => boolean;

export function scanInbox(disk: Disk, request: ScanRequest, isImage: IsImage): ScanResult {
  const scan = new Scan(disk, request, isImage);
  scan.visit('', 0);
  const { drops, ignored, directories } = scan;
  return { drops, ignored, directories };
}

class Scan implements ScanResult {
  readonly drops: Observation[] = [];
  readonly ignored: { path: string; reason: string }[] = [];
  readonly directories: string[] = [];

  constructor(
    readonly disk: Disk,
    readonly request: ScanRequest,
    readonly isImage: IsImage,
  ) {}

  visit(path: string, depth: number): void {
    const { inbox, marker } = this.request;
    const entries = listOrRefuse(this.disk, join(inbox, path));
    if (entries === 'denied') {
      this.ignored.push({ path, reason: 'no permission to read this directory' });
      return;
    }
    const imageHere = path !== '' && isDropDirectory(this.disk, inbox, path, entries, this.isImage);
    if (imageHere !== 'no' && path !== '') {
      this.drops.push(observe(this.disk, this.request, path, 'directory', imageHere === 'certain'));
      return;
    }
    this.directories.push(path);
    for (const { name, kind } of entries) {
      if (isBusyName(name)) continue;
      const below = path === '' ? name : `${path}/${name}`;
      // The names of its claim and its receipt would be longer than a filesystem allows.
      if (Buffer.byteLength(below) > DROP_NAME_MAX) {
        this.ignored.push({ path: below, reason: `a path longer than ${DROP_NAME_MAX} bytes` });
        continue;
      }
      if (kind === 'directory') {
        if (depth < DROP_DEPTH_MAX) this.visit(below, depth + 1);
        else this.ignored.push({ path: below, reason: 'directories are nested too deeply' });
      } else if (kind === 'file') {
        if (isMarker(entries, name, marker)) continue;
        this.drops.push(observe(this.disk, this.request, below, 'file', true));
      } else {
        const reason = kind === 'symlink' ? 'a link' : 'a special file';
        this.ignored.push({ path: below, reason });
      }
    }
  }
}

function isMarker(entries: readonly Entry[], name: string, marker: string | undefined): boolean {
  if (marker === undefined || !name.endsWith(marker)) return false;
  return entries.some((entry) => entry.name === name.slice(0, -marker.length));
}

function listOrRefuse(disk: Disk, path: string): Entry[] | 'denied' {
  try {
    return listIfThere(disk, path);
  } catch (error) {
    if (hasErrno(error, 'EACCES', 'EPERM')) return 'denied';
    if (hasErrno(error, 'ENOTDIR', 'ELOOP')) return [];
    throw error;
  }
}

/**
 * Is this directory a drop, or a name space for drops? 'perhaps' for what only begins to look like
 * one: tools make their files in every order.
 */
function isDropDirectory(
  disk: Disk,
  inbox: string,
  path: string,
  entries: readonly Entry[],
  isImage: IsImage,
): 'certain' | 'perhaps' | 'no' {
  if (isImage(entries)) return 'certain';
  const isWriting = /^(?:oci|dir)-put-blob|^ingest$/;
  if (entries.some(({ name }) => isWriting.test(name))) return 'perhaps';
  const directories = entries.filter(({ kind }) => kind === 'directory');
  if (directories.some(({ name }) => name === 'blobs')) {
    const inside = listOrRefuse(disk, join(inbox, path, 'blobs'));
    if (inside === 'denied' || inside.length === 0) return 'perhaps';
    if (inside.some(({ name }) => name === 'sha256' || name === 'sha512')) return 'perhaps';
  }
  // No repository is named with these, so it can only be a drop, or a registry's host with a port.
  const hasTagOrLabel = /[:=@]/.test(path.slice(path.lastIndexOf('/') + 1));
  return hasTagOrLabel && directories.length === 0 ? 'certain' : 'no';
}

function observe(
  disk: Disk,
  { inbox, marker }: ScanRequest,
  path: string,
  kind: Observation['kind'],
  isCertain: boolean,
): Observation {
  const isMarked =
    marker === undefined || statIfThere(disk, join(inbox, path + marker)) !== undefined;
  return { path, kind, isCertain, isMarked, ...signDrop(disk, join(inbox, path)) };
}

type Look = Pick<Observation, 'signature' | 'newestMs' | 'busy'>;

/** What a drop looks like now; the same before and after it is renamed. */
export function signDrop(disk: Disk, path: string): Look {
  const stat = statIfThere(disk, path);
  if (stat?.kind === 'directory') return signTree(disk, path);
  const { size = 0, mtimeMs = 0, ino = 0 } = stat ?? {};
  return { signature: `${size} ${mtimeMs} ${ino}`, newestMs: mtimeMs, busy: undefined };
}

/**
 * A signature over every name, size, change time and inode below a directory. The directory's own
 * change time is left out, for a rename sets it and changes nothing inside; its modification time
 * tells when a name was added or removed.
 */
function signTree(disk: Disk, root: string): Look {
  const hash = createHash('sha256');
  let newestMs = statIfThere(disk, root)?.mtimeMs ?? 0;
  let busy: string | undefined;
  let files = 0;
  const walk = (directory: string, below: string, depth: number): void => {
    if (depth > DROP_DEPTH_MAX) return;
    const entries = listOrRefuse(disk, directory);
    if (entries === 'denied') return;
    entries.sort((a, b) => (a.name < b.name ? -1 : 1));
    for (const { name, kind } of entries) {
      if (++files > FILES_PER_DROP_MAX) return;
      const path = join(directory, name);
      const stat = statIfThere(disk, path);
      if (stat === undefined) continue;
      if (isBusyName(name)) busy ??= below + name;
      newestMs = Math.max(newestMs, stat.ctimeMs);
      hash.update(`${below}${name}\0${kind} ${stat.size} ${stat.ctimeMs} ${stat.ino}\n`);
      if (kind === 'directory') walk(path, `${below}${name}/`, depth + 1);
    }
  };
  walk(root, '', 0);
  return { signature: hash.digest('base64'), newestMs, busy };
}

/** The filesystem's own time, which is what change times are compared with (ms). */
export function filesystemNow(disk: Disk, probe: string): number {
  removeIfThere(disk, probe);
  const fd = disk.open(probe, 'create');
  try {
    return disk.statOpen(fd).ctimeMs;
  } finally {
    disk.close(fd);
    removeIfThere(disk, probe);
  }
}
