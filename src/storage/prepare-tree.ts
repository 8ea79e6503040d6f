/** Makes the directories of the tree and checks, before anything is published, that it can work. */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { DropdockError, hasErrno } from '../errors.js';
import type { Disk } from './disk.js';
import { ensureDirectory, listIfThere, removeIfThere, writeNewFile } from './durable.js';
import { job } from './job.js';
import { masterDirectory, type TreeRoots, workDirectory } from './tree-paths.js';

export interface PrepareRequest {
  readonly roots: TreeRoots;
  readonly directories: readonly string[];
  /** Files that must be there before anything is made. */
  readonly markers?: readonly string[];
}

const PROBE = '.probe-';
/** By the filesystem's own clock; nobody looks for so long. */
const PROBE_MS_MAX = 60_000;

/** @throws layout.unsafe when state and published lie apart: a rename or link cannot cross over */
export const prepareTree = job(
  'fast',
  import.meta.url,
  function prepareTree(disk: Disk, request: PrepareRequest): void {
    const { roots, directories, markers = [] } = request;
    for (const path of markers) mustBeThere(disk, path);
    for (const directory of directories) ensureDirectory(disk, directory);
    // Another host may look at the same time, with the same process number.
    const name = `${PROBE}${process.pid}-${randomBytes(4).toString('hex')}`;
    const [probe, linked] = [join(workDirectory(roots), name), join(masterDirectory(roots), name)];
    const devices = [roots.published, roots.state].map((root) => disk.statIfThere(root)?.dev);
    removeIfThere(disk, probe);
    removeIfThere(disk, linked);
    try {
      writeNewFile(disk, probe, Buffer.alloc(0), { mode: 0o600 });
      // Two bind mounts of one filesystem have one device number, and still no link between them.
      disk.link(probe, linked);
      removeOldProbes(disk, roots, probe);
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
  },
);

function mustBeThere(disk: Disk, path: string): void {
  if (disk.statIfThere(path)) return;
  throw new DropdockError('layout.unsafe', `${path} is not there (paths.marker). Is it mounted?`, {
    path,
  });
}

/** What was left by those that were killed while they looked; others may be looking now. */
function removeOldProbes(disk: Disk, roots: TreeRoots, ours: string): void {
  const oldMs = disk.stat(ours).mtimeMs - PROBE_MS_MAX;
  for (const place of [workDirectory(roots), masterDirectory(roots)]) {
    for (const { name } of listIfThere(disk, place)) {
      if (!name.startsWith(PROBE)) continue;
      const path = join(place, name);
      const mtimeMs = disk.statIfThere(path)?.mtimeMs ?? Number.POSITIVE_INFINITY;
      if (mtimeMs < oldMs) removeIfThere(disk, path);
    }
  }
}
