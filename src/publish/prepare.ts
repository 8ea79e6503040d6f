/** Makes the directories of the tree and checks, before anything is published, that it can work. */
import { join } from 'node:path';
import type { Disk } from '../disk/disk.js';
import { ensureDirectory, removeIfThere, statIfThere, writeNewFile } from '../disk/durable.js';
import { DropdockError, hasErrno } from '../errors.js';
import { masterDirectory, type TreeRoots, workDirectory } from './paths.js';

export interface PrepareRequest {
  readonly roots: TreeRoots;
  readonly directories: readonly string[];
}

/** @throws layout.unsafe when state and published lie apart: a rename or link cannot cross over */
export function prepareTree(disk: Disk, { roots, directories }: PrepareRequest): void {
  for (const directory of directories) ensureDirectory(disk, directory);
  const probe = join(workDirectory(roots), `.probe-${process.pid}`);
  const linked = join(masterDirectory(roots), `.probe-${process.pid}`);
  const devices = [roots.published, roots.state].map((root) => statIfThere(disk, root)?.dev);
  removeIfThere(disk, probe);
  removeIfThere(disk, linked);
  try {
    writeNewFile(disk, probe, Buffer.alloc(0), { mode: 0o600 });
    // Two bind mounts of one filesystem have one device number, and still no link between them.
    disk.link(probe, linked);
  } catch (error) {
    if (!hasErrno(error, 'EXDEV') && devices[0] === devices[1]) throw error;
    throw new DropdockError(
      'layout.unsafe',
      `${roots.state} and ${roots.published} must lie on one mounted filesystem.`,
      { path: roots.state },
      error,
    );
  } finally {
    removeIfThere(disk, probe);
    removeIfThere(disk, linked);
  }
}
