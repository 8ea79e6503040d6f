/**
 * Trees made ahead of time: links to everything the current snapshot holds, so that the next snapshot
 * of a large repository is not 60,000 links away but as many as it differs by. They are only a hurry
 * saved: each says which very snapshot it was made of, and take-prepared.ts decides whether it helps.
 *
 *   work/<owner>-ready-<id>/making                    not whole yet
 *   work/<owner>-ready-<id>/<version>=<sum>=<stamp>   whole
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import type { Disk } from '../disk/disk.js';
import { listIfThere } from '../disk/durable.js';
import { DropdockError, hasErrno } from '../errors.js';
import type { RepositoryId } from '../image/names.js';
import { LARGE_DIRECTORIES } from '../snapshot/inventory.js';
import { moveToTrash } from './clean.js';
import { readPivot } from './current.js';
import {
  isPreparedName,
  preparedPath,
  type TreeRoots,
  transactionOwner,
  workDirectory,
  workPath,
} from './paths.js';
import { snapshotVersion } from './recall.js';

export const MAKING = 'making';
export const TREE_DIRECTORY_MODE = 0o755;

export interface PreparedPlace {
  readonly roots: TreeRoots;
  readonly id: RepositoryId;
  readonly owner: string;
}

export interface PreparedTree {
  readonly name: string;
  /** Of the snapshot it was made of. */
  readonly version: string;
  /** Of what it holds: an inventory's. */
  readonly sum: string;
  /** Of its large directories, when it was whole. */
  readonly stamp: string;
}

export function preparedName({ version, sum, stamp }: Omit<PreparedTree, 'name'>): string {
  return [version, sum, stamp].join('=');
}

/** Of the snapshots' age, the oldest first. */
export function listPrepared(disk: Disk, { roots, id, owner }: PreparedPlace): PreparedTree[] {
  return listIfThere(disk, preparedPath(roots, owner, id))
    .map(({ name }) => name)
    .sort()
    .flatMap((name) => {
      const [version = '', sum = '', stamp = ''] = name.split('=');
      return name === MAKING ? [] : { name, version, sum, stamp };
    });
}

/** Changes when anything is added to a large directory of the tree, or taken away. */
export function stampOf(disk: Disk, root: string): string {
  const hash = createHash('sha256');
  for (const directory of LARGE_DIRECTORIES) {
    const { ino, ctimeMs, mtimeMs } = disk.stat(`${root}/${directory}`);
    hash.update(`${ino} ${ctimeMs} ${mtimeMs}\n`);
  }
  return hash.digest('hex').slice(0, 16);
}

/** After a repair: what was bad may be linked from them. And at times: what nobody will take. */
export function discardPrepared(
  disk: Disk,
  { roots, owner }: { readonly roots: TreeRoots; readonly owner?: string },
): number {
  let count = 0;
  for (const name of namesOf(disk, roots)) {
    if (owner !== undefined && transactionOwner(name) !== owner) continue;
    if (owner !== undefined && keepsCurrent(disk, roots, name)) continue;
    throwAway(disk, roots, workPath(roots, name));
    count++;
  }
  return count;
}

/** Content that only older ones link would never be unused. @returns whether any is left */
function keepsCurrent(disk: Disk, roots: TreeRoots, name: string): boolean {
  const owner = transactionOwner(name);
  const id = name.slice(`${owner}-ready-`.length) as RepositoryId;
  try {
    const base = readPivot(disk, roots, id);
    const version = base && snapshotVersion(disk, roots, id, base);
    const trees = listPrepared(disk, { roots, id, owner });
    const current = trees.filter((tree) => tree.version === version);
    const isMaking = listIfThere(disk, workPath(roots, name)).some((each) => each.name === MAKING);
    if (version === null || (current.length === 0 && !isMaking)) return false;
    for (const tree of trees) {
      if (!current.includes(tree)) throwAway(disk, roots, join(workPath(roots, name), tree.name));
    }
    return true;
  } catch (error) {
    if (hasErrno(error, 'ENOENT') || error instanceof DropdockError) return false;
    throw error;
  }
}

/** Whose trees are made ahead, of all processes. */
export function namesOf(disk: Disk, roots: TreeRoots): string[] {
  return listIfThere(disk, workDirectory(roots))
    .map(({ name }) => name)
    .filter(isPreparedName);
}

/** A tree, or all of a repository. */
export function throwAway(disk: Disk, roots: TreeRoots, path: string): void {
  const name = path.slice(workDirectory(roots).length + 1).replaceAll('/', '@');
  moveToTrash(disk, roots, path, `work@${name}`);
}
