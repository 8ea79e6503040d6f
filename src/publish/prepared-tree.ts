/**
 * A tree made ahead of time: links to everything the current snapshot holds, so that the next
 * snapshot of a large repository is not 60,000 links away but as many as it differs by. It is only a
 * hurry saved: it says which very snapshot it was made of, and is thrown away when another is current.
 *
 *   work/<owner>-ready-<id>/making        not whole yet
 *   work/<owner>-ready-<id>/<version>     whole
 */
import { join } from 'node:path';
import type { Disk } from '../disk/disk.js';
import { listIfThere, makeDirectory, removeIfThere, syncDirectory } from '../disk/durable.js';
import { removeTree } from '../disk/remove-tree.js';
import { DropdockError, hasErrno } from '../errors.js';
import { isDigest } from '../image/digest.js';
import type { RepositoryId } from '../image/names.js';
import { SNAPSHOT_FILE } from '../snapshot/render.js';
import type { Timestamp } from '../snapshot/timestamp.js';
import { moveToTrash } from './clean.js';
import { readPivot } from './current.js';
import {
  contentPath,
  isPreparedName,
  preparedPath,
  snapshotPath,
  type TreeRoots,
  transactionOwner,
  workDirectory,
  workPath,
} from './paths.js';

const MAKING = 'making';
/**
 * Where large repositories have their files. Of manifests/1 a digest may name other bytes than what is
 * stored under it, and all others are made anew each time.
 */
const LINKED = ['blobs', 'manifests/oci', 'manifests/oci-index', 'manifests/2', 'manifests/list'];
/** More repositories of this size are not published to at one time. */
const PREPARED_MAX = 16;
export const TREE_DIRECTORY_MODE = 0o755;

export interface PrepareNextRequest {
  readonly roots: TreeRoots;
  readonly id: RepositoryId;
  readonly owner: string;
}

/**
 * Makes the next tree of a repository ready. Holds no lock: whoever publishes meanwhile throws away
 * what is not whole, and this ends. @returns how many links were made
 */
export function prepareNext(disk: Disk, { roots, id, owner }: PrepareNextRequest): number {
  const base = readPivot(disk, roots, id);
  const ready = preparedPath(roots, owner, id);
  try {
    const version = base && versionOf(disk, roots, id, base);
    if (version && listIfThere(disk, ready).some(({ name }) => name === version)) return 0;
    discard(disk, roots, ready);
    if (base === null || version === null) return 0;
    makeRoom(disk, roots, owner);
    disk.makeDirectory(ready);
    // As for every transaction: see `begin` in jobs.ts.
    syncDirectory(disk, workDirectory(roots));
    const making = join(ready, MAKING);
    const links = copyLinks(disk, roots, snapshotPath(roots, id, base), making);
    disk.rename(making, join(ready, version));
    return links;
  } catch (error) {
    discard(disk, roots, ready);
    // Somebody has published, or cleaned: it would have been of no use.
    if (hasErrno(error, 'ENOENT', 'EEXIST')) return 0;
    throw error;
  }
}

/** Names the very snapshot: its name may have been another's before, its file's inode too. */
function versionOf(disk: Disk, roots: TreeRoots, id: RepositoryId, base: Timestamp): string {
  const { ino, ctimeMs } = disk.stat(join(snapshotPath(roots, id, base), SNAPSHOT_FILE));
  return `${base}@${ino}-${ctimeMs}`;
}

function copyLinks(disk: Disk, roots: TreeRoots, from: string, to: string): number {
  let links = 0;
  for (const directory of [to, `${to}/manifests`, ...LINKED.map((each) => `${to}/${each}`)]) {
    makeDirectory(disk, directory, TREE_DIRECTORY_MODE);
  }
  for (const directory of LINKED) {
    const [source, target] = [`${from}/${directory}`, `${to}/${directory}`];
    for (const { name, kind } of listIfThere(disk, source)) {
      if (kind === 'file' && linkFile(disk, roots, source, target, name)) links++;
    }
    syncDirectory(disk, target);
  }
  return links;
}

/** As a publish would: what is named by a digest from the store, a tag from the last snapshot. */
function linkFile(disk: Disk, roots: TreeRoots, from: string, to: string, name: string): boolean {
  const source = isDigest(name) ? contentPath(roots, name) : `${from}/${name}`;
  try {
    disk.link(source, `${to}/${name}`);
    return true;
  } catch (error) {
    // The publish does what cannot be done here, in its own ways; and it may be under way by now.
    if (!hasErrno(error, 'EMLINK', 'ENOENT')) throw error;
    disk.stat(to);
    return false;
  }
}

/** The oldest go, so that they do not pile up. */
function makeRoom(disk: Disk, roots: TreeRoots, owner: string): void {
  const ours = namesOf(disk, roots).filter((name) => transactionOwner(name) === owner);
  if (ours.length < PREPARED_MAX) return;
  const byAge = ours
    .map((name) => ({ name, ms: disk.stat(workPath(roots, name)).mtimeMs }))
    .sort((a, b) => a.ms - b.ms);
  for (const { name } of byAge.slice(0, ours.length - PREPARED_MAX + 1)) {
    discard(disk, roots, workPath(roots, name));
  }
}

export interface Prepared {
  /** Below the tree, leaves before what holds them. */
  readonly directories: ReadonlySet<string>;
  /** Paths of files below it. */
  readonly files: Set<string>;
}

/**
 * Takes what was made ready for this very base. Whatever else was made ready goes.
 * @param root where it is moved to
 */
export function takePrepared(
  disk: Disk,
  { roots, id, owner }: PrepareNextRequest,
  base: Timestamp | null,
  root: string,
): Prepared | undefined {
  const ready = preparedPath(roots, owner, id);
  let isTaken = false;
  try {
    if (base !== null) {
      disk.rename(join(ready, versionOf(disk, roots, id, base)), root);
      isTaken = true;
    }
  } catch (error) {
    if (!hasErrno(error, 'ENOENT')) throw error;
  }
  discard(disk, roots, ready);
  if (!isTaken) return undefined;
  const directories = new Set(['.', ...LINKED, 'manifests']);
  const files = new Set<string>();
  for (const directory of LINKED) {
    for (const name of disk.names(`${root}/${directory}`)) files.add(`${directory}/${name}`);
  }
  return { directories, files };
}

/** Takes away what the tree is not to hold. */
export function removeRest(
  disk: Disk,
  root: string,
  { files, directories }: Prepared,
  wanted: ReadonlySet<string>,
): void {
  for (const path of files) removeIfThere(disk, `${root}/${path}`);
  for (const path of directories) if (!wanted.has(path)) removeTree(disk, `${root}/${path}`);
}

/** After a repair: what was bad may be linked from them. And at times: what nobody will take. */
export function discardPrepared(
  disk: Disk,
  { roots, owner }: { readonly roots: TreeRoots; readonly owner?: string },
): number {
  let count = 0;
  for (const name of namesOf(disk, roots)) {
    if (owner !== undefined && (transactionOwner(name) !== owner || isCurrent(disk, roots, name))) {
      continue;
    }
    discard(disk, roots, workPath(roots, name));
    count++;
  }
  return count;
}

function isCurrent(disk: Disk, roots: TreeRoots, name: string): boolean {
  const id = name.slice(`${transactionOwner(name)}-ready-`.length) as RepositoryId;
  try {
    const base = readPivot(disk, roots, id);
    const version = base && versionOf(disk, roots, id, base);
    const whole = listIfThere(disk, workPath(roots, name)).map((entry) => entry.name);
    return version !== null && (whole.includes(version) || whole.includes(MAKING));
  } catch (error) {
    if (hasErrno(error, 'ENOENT') || error instanceof DropdockError) return false;
    throw error;
  }
}

function namesOf(disk: Disk, roots: TreeRoots): string[] {
  return listIfThere(disk, workDirectory(roots))
    .map(({ name }) => name)
    .filter(isPreparedName);
}

function discard(disk: Disk, roots: TreeRoots, ready: string): void {
  moveToTrash(disk, roots, ready, `work@${ready.slice(workDirectory(roots).length + 1)}`);
}
