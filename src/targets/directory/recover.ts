/**
 * Completes what a crash interrupted, at the next start or publish. Checks all links, not just one: a
 * restarted Kubernetes AtomicWriter compared only one and never finished.
 */
import { join } from 'node:path';
import { DropdockError } from '../../errors.js';
import type { RepositoryId } from '../../image/names.js';
import type { Timestamp } from '../../repository/timestamp.js';
import type { Disk } from '../../storage/disk.js';
import {
  listIfThere,
  readLinkIfThere,
  removeIfThere,
  syncDirectory,
} from '../../storage/durable.js';
import { job } from '../../storage/job.js';
import { moveToTrash } from '../../storage/trash.js';
import {
  appDirectory,
  appLinkPath,
  appLinkTarget,
  masterDirectory,
  parseTemporaryLink,
  type TreeRoots,
  transactionOwner,
  webDirectory,
  workDirectory,
  workPath,
} from '../../storage/tree-paths.js';
import { repairAppLink } from './flip.js';
import { readHistory, repairHistory } from './flip-history.js';
import { readPivot } from './pivot.js';

/** Returns the ids of all repositories in the tree: by pivot, by link for Crane, or by snapshots. */
export const listRepositories = job(
  'fast',
  import.meta.url,
  function listRepositories(disk: Disk, { roots }: { readonly roots: TreeRoots }): RepositoryId[] {
    const ids = new Set<string>();
    for (const { name } of listIfThere(disk, webDirectory(roots))) ids.add(name);
    for (const { name } of listIfThere(disk, masterDirectory(roots))) ids.add(name);
    for (const { name } of listIfThere(disk, appDirectory(roots))) {
      if (name.endsWith('.json')) ids.add(name.slice(0, -'.json'.length));
    }
    return [...ids].filter((name) => !name.startsWith('.')).sort() as RepositoryId[];
  },
);

export interface RecoverRequest {
  readonly roots: TreeRoots;
  readonly id: RepositoryId;
  readonly owner: string;
}

/**
 * Runs under the repository's lock.
 * @returns a description of each repair
 */
export const recoverRepository = job(
  'fast',
  import.meta.url,
  function recoverRepository(disk: Disk, { roots, id, owner }: RecoverRequest): string[] {
    const repaired: string[] = [];
    // A crash may have happened between a flip and its sync. The flip must be on disk before anything builds on
    // it.
    syncDirectory(disk, webDirectory(roots));
    for (const directory of [webDirectory(roots), appDirectory(roots)]) {
      for (const { name } of listIfThere(disk, directory)) {
        if (!name.startsWith('.') || parseTemporaryLink(name)?.id !== id) continue;
        removeIfThere(disk, join(directory, name));
        repaired.push(`removed temporary link ${name}`);
      }
    }
    if (readPivot(disk, roots, id) === null) {
      // Without a pivot there is no repository. This finishes an interrupted removal.
      if (readLinkIfThere(disk, appLinkPath(roots, id)) === appLinkTarget(id)) {
        removeIfThere(disk, appLinkPath(roots, id));
        syncDirectory(disk, appDirectory(roots));
        repaired.push('removed a dangling link for Crane');
      }
      return repaired;
    }
    if (repairAppLink(disk, roots, id, owner)) repaired.push('placed the link for Crane');
    if (repairHistory(disk, roots, id)) repaired.push('added the last flip to the history');
    return repaired;
  },
);

/** Returns the repositories that need recovery. Read-only, and fast for thousands of repositories. */
export const findBroken = job(
  'fast',
  import.meta.url,
  function findBroken(disk: Disk, { roots }: { readonly roots: TreeRoots }): RepositoryId[] {
    const broken = new Set<RepositoryId>();
    for (const directory of [webDirectory(roots), appDirectory(roots)]) {
      for (const { name } of listIfThere(disk, directory)) {
        const link = name.startsWith('.') ? parseTemporaryLink(name) : undefined;
        if (link) broken.add(link.id);
      }
    }
    for (const id of listRepositories(disk, { roots })) {
      const pivot = pivotOrUnknown(disk, roots, id);
      if (pivot === 'stranger') continue;
      const link = readLinkIfThere(disk, appLinkPath(roots, id));
      const last = pivot && readHistory(disk, roots, id).at(-1)?.snapshot;
      if (
        pivot === null ? link === appLinkTarget(id) : link !== appLinkTarget(id) || last !== pivot
      ) {
        broken.add(id);
      }
    }
    return [...broken];
  },
);

/** On a Pulp host the links made by Pulp are in the same directory. They are ignored. */
function pivotOrUnknown(
  disk: Disk,
  roots: TreeRoots,
  id: RepositoryId,
): Timestamp | null | 'stranger' {
  try {
    return readPivot(disk, roots, id);
  } catch (error) {
    if (error instanceof DropdockError) return 'stranger';
    throw error;
  }
}

export interface AbandonedRequest {
  readonly roots: TreeRoots;
  /** Ids of processes that are gone. */
  readonly dead: readonly string[];
}

/**
 * Moves the work directories of dead processes into the trash.
 * @returns how many
 */
export const trashAbandonedWork = job(
  'fast',
  import.meta.url,
  function trashAbandonedWork(disk: Disk, { roots, dead }: AbandonedRequest): number {
    const abandoned = listIfThere(disk, workDirectory(roots)).filter(({ name }) =>
      dead.includes(transactionOwner(name)),
    );
    for (const { name } of abandoned)
      moveToTrash(disk, roots, workPath(roots, name), `work@${name}`);
    return abandoned.length;
  },
);
