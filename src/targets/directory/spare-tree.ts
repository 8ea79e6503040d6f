/**
 * A spare tree holds links to the content of a repository's current snapshot. The daemon makes it in the
 * background after a publish. The next publish takes it with one rename and changes only the differences: for
 * 10,000 tags this saves 50,000 links. A spare tree belongs to exactly one snapshot; a publish on top of
 * another one starts with an empty tree. When a publish starts before the tree is complete, it takes the part
 * and adds the rest.
 *
 *   work/<owner>-spare-<id>/making               being made
 *   work/<owner>-spare-<id>/<version>=<files>    number of files; see snapshotVersion
 */
import { join } from 'node:path';
import { hasErrno } from '../../errors.js';
import { isDigest } from '../../image/digest.js';
import type { RepositoryId } from '../../image/names.js';
import type { Timestamp } from '../../repository/timestamp.js';
import type { Disk } from '../../storage/disk.js';
import {
  discard,
  ensureDirectory,
  listIfThere,
  makeDirectory,
  syncDirectory,
} from '../../storage/durable.js';
import { job } from '../../storage/job.js';
import { moveToTrash } from '../../storage/trash.js';
import {
  contentPath,
  isSpareName,
  snapshotPath,
  sparePath,
  type TreeRoots,
  transactionOwner,
  workDirectory,
  workPath,
} from '../../storage/tree-paths.js';
import { readPivot } from './pivot.js';
import { snapshotVersion } from './snapshot-cache.js';

export const TREE_DIRECTORY_MODE = 0o755;

const MAKING = 'making';

/** The directories of a snapshot that may hold many files. */
const LARGE_DIRECTORIES = [
  'blobs',
  'manifests/oci',
  'manifests/oci-index',
  'manifests/1',
  'manifests/2',
  'manifests/list',
] as const;

/** All directories of a spare tree. */
export const SPARE_DIRECTORIES: ReadonlySet<string> = new Set([
  '.',
  'manifests',
  ...LARGE_DIRECTORIES,
]);

export interface SparePlace {
  readonly roots: TreeRoots;
  readonly id: RepositoryId;
  readonly owner: string;
}

/** Shared between threads: the making of a spare tree stops when its one element is not 0. */
export type StopFlag = Int32Array;

export interface MakeSpareTreeRequest extends SparePlace {
  readonly stop?: StopFlag;
}

/**
 * Makes the spare tree of a repository unless it exists. Takes no lock: a publish meanwhile only makes it
 * useless.
 * @returns whether one was made
 */
export const makeSpareTree = job(
  'background',
  import.meta.url,
  function makeSpareTree(disk: Disk, request: MakeSpareTreeRequest): boolean {
    const { roots, id, owner, stop } = request;
    const home = sparePath(roots, owner, id);
    try {
      const base = readPivot(disk, roots, id);
      const version = base && snapshotVersion(disk, roots, id, base);
      const trees = listIfThere(disk, home).map(({ name }) => name);
      for (const name of trees) {
        if (version !== null && name.startsWith(`${version}=`)) return false;
        throwAway(disk, roots, join(home, name));
      }
      if (base === null) return false;
      // As for every transaction: see `begin` in transaction.ts.
      ensureDirectory(disk, home);
      const [from, to] = [snapshotPath(roots, id, base), join(home, MAKING)];
      const files = copyLinks(disk, roots, { from, to, stop });
      disk.rename(join(home, MAKING), join(home, `${version}=${files}`));
      return true;
    } catch (error) {
      discard(() => throwAway(disk, roots, join(home, MAKING)));
      // The snapshot was removed, the tree discarded, or a file has the maximum number of links.
      if (hasErrno(error, 'ENOENT', 'EEXIST', 'EMLINK')) return false;
      throw error;
    }
  },
);

/**
 * Moves the spare tree of the snapshot `base` to `root`.
 * @returns its number of files; undefined when there is no tree. It may be fewer than the snapshot has, or
 *   more when another program put files into the snapshot.
 */
export function takeSpareTree(
  disk: Disk,
  { roots, id, owner }: SparePlace,
  base: Timestamp,
  root: string,
): number | undefined {
  const home = sparePath(roots, owner, id);
  const names = listIfThere(disk, home).map(({ name }) => name);
  if (names.length === 0) return undefined;
  const prefix = `${snapshotVersion(disk, roots, id, base)}=`;
  const name = names.find((each) => each.startsWith(prefix));
  if (name === undefined) return undefined;
  disk.rename(join(home, name), root);
  return Number(name.slice(prefix.length));
}

/** Returns the paths of all files of a spare tree. */
export function listSpareTree(disk: Disk, root: string): string[] {
  return LARGE_DIRECTORIES.flatMap((directory) =>
    listIfThere(disk, join(root, directory)).map(({ name }) => `${directory}/${name}`),
  );
}

/**
 * Deletes spare trees: after a repair, because they may link bad files, and before a sweep, because content
 * that only they link would never become unused.
 * @returns how many repositories had one
 */
export const discardSpareTrees = job(
  'background',
  import.meta.url,
  function discardSpareTrees(
    disk: Disk,
    { roots, owner }: { readonly roots: TreeRoots; readonly owner?: string },
  ): number {
    const names = listIfThere(disk, workDirectory(roots))
      .map(({ name }) => name)
      .filter((name) => isSpareName(name))
      .filter((name) => owner === undefined || transactionOwner(name) === owner);
    for (const name of names) throwAway(disk, roots, workPath(roots, name));
    return names.length;
  },
);

function throwAway(disk: Disk, roots: TreeRoots, path: string): void {
  const name = path.slice(workDirectory(roots).length + 1).replaceAll('/', '@');
  moveToTrash(disk, roots, path, `work@${name}`);
}

interface CopyToMake {
  readonly from: string;
  readonly to: string;
  readonly stop: StopFlag | undefined;
}

/** @returns how many links were made */
function copyLinks(disk: Disk, roots: TreeRoots, { from, to, stop }: CopyToMake): number {
  let files = 0;
  for (const directory of SPARE_DIRECTORIES) {
    makeDirectory(disk, join(to, directory), TREE_DIRECTORY_MODE);
  }
  for (const directory of LARGE_DIRECTORIES) {
    const [source, target] = [`${from}/${directory}`, `${to}/${directory}`];
    for (const { name, kind } of listIfThere(disk, source)) {
      if (stop && Atomics.load(stop, 0) !== 0) return files;
      if (kind !== 'file') continue;
      linkFile(disk, roots, { source, target, name });
      files++;
    }
    syncDirectory(disk, target);
  }
  return files;
}

interface LinkToMake {
  readonly source: string;
  readonly target: string;
  readonly name: string;
}

/**
 * Links content from the store and everything else from the snapshot, as a publish does. Below manifests/1 a
 * digest may name other bytes than those stored under it.
 */
function linkFile(disk: Disk, roots: TreeRoots, { source, target, name }: LinkToMake): void {
  const isContent = isDigest(name) && !source.endsWith('manifests/1');
  if (isContent && linkIfThere(disk, contentPath(roots, name), `${target}/${name}`)) return;
  disk.link(`${source}/${name}`, `${target}/${name}`);
}

function linkIfThere(disk: Disk, existing: string, path: string): boolean {
  try {
    disk.link(existing, path);
    return true;
  } catch (error) {
    if (!hasErrno(error, 'EMLINK', 'ENOENT')) throw error;
    return false;
  }
}
