/** Deleted trees are first moved to trash/ as a whole. */
import { dirname } from 'node:path';
import { hasErrno } from '../errors.js';
import type { Disk } from './disk.js';
import { ensureDirectory, forEach, listIfThere, syncDirectory } from './durable.js';
import { job } from './job.js';
import { removeOwnTree } from './remove-tree.js';
import { type TreeRoots, trashDirectory, trashPath } from './tree-paths.js';

/** One rename, so a crash never leaves half a snapshot. */
export function moveToTrash(disk: Disk, roots: TreeRoots, path: string, name: string): void {
  ensureDirectory(disk, trashDirectory(roots));
  for (let attempt = 0; ; attempt++) {
    try {
      disk.rename(path, trashPath(roots, attempt === 0 ? name : `${name}.${attempt}`));
      // The rename must be on disk before the deletion.
      syncDirectory(disk, dirname(path));
      return;
    } catch (error) {
      if (hasErrno(error, 'ENOENT')) return;
      if (!hasErrno(error, 'ENOTEMPTY', 'EEXIST', 'ENOTDIR', 'EISDIR') || attempt > 1000)
        throw error;
    }
  }
}

/**
 * Deletes the entries of the trash. Several processes may do so at once.
 * @returns how many entries were deleted
 */
export const emptyTrash = job(
  'background',
  import.meta.url,
  function emptyTrash(disk: Disk, { roots }: { readonly roots: TreeRoots }): number {
    const entries = listIfThere(disk, trashDirectory(roots));
    forEach(entries, ({ name }) => removeOwnTree(disk, trashPath(roots, name)));
    return entries.length;
  },
);
