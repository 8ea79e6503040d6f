/**
 * A spare tree: links to what the current snapshot of a repository holds, made by the daemon in the
 * background after a publish. The next publish takes it with one rename and changes what differs:
 * for 10,000 tags that saves 50,000 links. It is bound to the very snapshot it was made of; a
 * publish on top of another snapshot begins with an empty tree. When a publish begins earlier, the
 * tree is left as far as it is, and the publish adds what it lacks.
 *
 *   work/<owner>-spare-<id>/making               somebody makes it
 *   work/<owner>-spare-<id>/<version>=<files>    with so many files; see snapshotVersion
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

/** Where a snapshot has its many files. */
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

/** Shared between threads: whoever makes a spare tree stops when its one element is not 0. */
export type StopFlag = Int32Array;

export interface MakeSpareTreeRequest extends SparePlace {
  readonly stop?: StopFlag;
}

/**
 * Makes the spare tree of a repository, unless it is there. Holds no lock: a publish meanwhile only
 * makes it useless. @returns whether one was made
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
      // The snapshot was cleaned away, or the tree discarded, or a file has as many names as it may.
      if (hasErrno(error, 'ENOENT', 'EEXIST', 'EMLINK')) return false;
      throw error;
    }
  },
);

/**
 * Moves the spare tree of the snapshot `base` to `root`.
 * @returns how many files it has, which may be fewer than the snapshot has, and more where another program has
 *   put something into the snapshot; undefined where there is no tree
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

/** The paths of all files of a spare tree. */
export function listSpareTree(disk: Disk, root: string): string[] {
  return LARGE_DIRECTORIES.flatMap((directory) =>
    listIfThere(disk, join(root, directory)).map(({ name }) => `${directory}/${name}`),
  );
}

/**
 * Throws spare trees away: after a repair, for they may link what was bad, and before a sweep, for
 * content that only they link would never be unused. @returns how many repositories had one
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

/** @returns how many were made */
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
 * As a publish would: what is named by a digest from the store, the rest from the snapshot. Below
 * manifests/1 a digest may name other bytes than what is stored under it.
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
