/** Creates the directories of the tree and checks at start that it can work. */
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
  /** Files that must exist before anything is created. */
  readonly markers?: readonly string[];
}

const PROBE = '.probe-';
/** By the filesystem's clock; no check takes this long. */
const PROBE_MS_MAX = 60_000;

/**
 * @throws layout.unsafe when state and published are on different filesystems, between which no rename or
 *   link works
 */
export const prepareTree = job(
  'fast',
  import.meta.url,
  function prepareTree(disk: Disk, request: PrepareRequest): void {
    const { roots, directories, markers = [] } = request;
    for (const path of markers) mustBeThere(disk, path);
    for (const directory of directories) ensureDirectory(disk, directory);
    // Another host may check at the same time, with the same process number.
    const name = `${PROBE}${process.pid}-${randomBytes(4).toString('hex')}`;
    const [probe, linked] = [join(workDirectory(roots), name), join(masterDirectory(roots), name)];
    const devices = [roots.published, roots.state].map((root) => disk.statIfThere(root)?.dev);
    removeIfThere(disk, probe);
    removeIfThere(disk, linked);
    try {
      writeNewFile(disk, probe, Buffer.alloc(0), { mode: 0o600 });
      // Two bind mounts of one filesystem have the same device number, but no links between them.
      disk.link(probe, linked);
      removeOldProbes(disk, roots, probe);
    } catch (error) {
      if (!hasErrno(error, 'EXDEV') && devices[0] === devices[1]) throw error;
      throw new DropdockError(
        'layout.unsafe',
        `'${roots.state}' and '${roots.published}' must be on one mounted filesystem.`,
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
  throw new DropdockError(
    'layout.unsafe',
    `The marker file '${path}' (paths.marker) is missing. Is the filesystem mounted?`,
    {
      path,
    },
  );
}

/** Deletes probes of processes that were killed during the check. Others may be running it now. */
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
