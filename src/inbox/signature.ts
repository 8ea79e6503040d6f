/** The signature of a drop at one moment. A rename does not change it. */
import { createHash, type Hash } from 'node:crypto';
import { hasErrno } from '../errors.js';
import { DROP_DEPTH_MAX, FILES_PER_DROP_MAX } from '../image/limits.js';
import type { Disk, Entry } from '../storage/disk.js';

export interface DropSignature {
  /** Changes when anything in the drop changes. */
  readonly signature: string;
  /** Time of the newest change, by the filesystem's clock (ms). */
  readonly newestMs: number;
  /** Size of its files. */
  readonly bytes: number;
  /** A name in the drop that a tool uses while writing. */
  readonly busy: string | undefined;
}

/** Returns a path relative to an open directory, so that no parent directory can be replaced. */
export function within(fd: number, name = '.'): string {
  return `/proc/self/fd/${fd}/${name}`;
}

/** Returns undefined when there is no directory, 'denied' when it may not be read. */
export function openDirectory(disk: Disk, path: string): number | 'denied' | undefined {
  try {
    return disk.open(path, 'directory');
  } catch (error) {
    if (hasErrno(error, 'ENOENT', 'ENOTDIR', 'ELOOP')) return undefined;
    if (hasErrno(error, 'EACCES', 'EPERM')) return 'denied';
    throw error;
  }
}

/** @param path of a directory, file or anything in its place; links are not followed */
export function signatureOf(disk: Disk, path: string): DropSignature {
  const fd = openDirectory(disk, path);
  if (typeof fd !== 'number') return fileSignature(disk, path);
  try {
    return treeSignature(disk, fd, disk.list(within(fd)));
  } finally {
    disk.close(fd);
  }
}

/**
 * A rename also sets a file's change time, so the modification time is used. When a writer sets that back,
 * reading the archive shows that it is incomplete.
 */
export function fileSignature(disk: Disk, path: string): DropSignature {
  const { kind = 'other', size = 0, mtimeMs = 0, ino = 0 } = disk.statIfThere(path) ?? {};
  return {
    signature: `${kind} ${size} ${mtimeMs} ${ino}`,
    newestMs: mtimeMs,
    bytes: size,
    busy: undefined,
  };
}

/**
 * Covers every name, size, change time and inode below a directory. The directory's own change time is
 * excluded, because a rename sets it; its modification time changes when a name is added or removed.
 * @param entries its entries, as just listed
 */
export function treeSignature(disk: Disk, root: number, entries: readonly Entry[]): DropSignature {
  const walk: Walk = {
    hash: createHash('sha256'),
    newestMs: disk.statOpen(root).mtimeMs,
    bytes: 0,
    busy: undefined,
    files: 0,
  };
  walkTree(disk, root, entries, '', walk);
  return {
    signature: walk.hash.digest('base64'),
    newestMs: walk.newestMs,
    bytes: walk.bytes,
    busy: walk.busy,
  };
}

interface Walk {
  readonly hash: Hash;
  newestMs: number;
  bytes: number;
  busy: string | undefined;
  files: number;
}

function walkTree(
  disk: Disk,
  directory: number,
  entries: readonly Entry[],
  below: string,
  walk: Walk,
  depth = 0,
): void {
  const sorted = [...entries].sort((a, b) => (a.name < b.name ? -1 : 1));
  for (const { name, kind } of sorted) {
    if (++walk.files > FILES_PER_DROP_MAX) return;
    const stat = disk.statIfThere(within(directory, name));
    if (stat === undefined) continue;
    if (showsWriter(below, name)) walk.busy ??= below + name;
    if (kind === 'file') walk.bytes += stat.size;
    walk.newestMs = Math.max(walk.newestMs, stat.ctimeMs);
    walk.hash.update(`${below}${name}\0${kind} ${stat.size} ${stat.ctimeMs} ${stat.ino}\n`);
    if (kind === 'directory' && depth < DROP_DEPTH_MAX)
      enter(disk, directory, name, below, walk, depth);
  }
}

function enter(
  disk: Disk,
  parent: number,
  name: string,
  below: string,
  walk: Walk,
  depth: number,
): void {
  const fd = openDirectory(disk, within(parent, name));
  if (typeof fd !== 'number') return;
  try {
    walkTree(disk, fd, disk.list(within(fd)), `${below}${name}/`, walk, depth + 1);
  } finally {
    disk.close(fd);
  }
}

/**
 * Names that tools use while writing, and remove afterwards. A stray file (.DS_Store, .stamp_built,
 * index.json~) is no sign of a writer, so not every dot file counts.
 */
const WRITERS = [
  // skopeo, buildah and podman; umoci; BuildKit.
  /^(?:oci|dir)-put-blob|^\.umoci-|^index\.json\.lock$/,
  // rsync: `.<name>.` and six letters and digits; excludes lower-case words.
  /^\..+\.(?=[a-z]*[A-Z0-9])[A-Za-z0-9]{6}$|^\.~tmp~$|^\.rsync-partial$/,
  // Downloads, uploads, synchronisers.
  /\.(?:part|partial|tmp|filepart|crdownload|aria2)$|^[.~]syncthing[.~]/,
];

/** @param below its directory within the drop, with a trailing slash; '' for the drop itself */
export function showsWriter(below: string, name: string): boolean {
  // containerd and oras write here, and leave the empty directory afterwards.
  if (below.startsWith('ingest/') && !name.startsWith('.')) return true;
  return WRITERS.some((writer) => writer.test(name));
}
