/** Counts repositories and tags by reading one directory per repository. Opens no file. */
import { join } from 'node:path';
import { isTimestamp } from '../../repository/timestamp.js';
import type { Disk } from '../../storage/disk.js';
import { listIfThere } from '../../storage/durable.js';
import { job } from '../../storage/job.js';
import { masterDirectory, type TreeRoots, webDirectory } from '../../storage/tree-paths.js';

export interface RepositoryCounts {
  readonly repositories: number;
  readonly snapshots: number;
}

export const countRepositories = job(
  'background',
  import.meta.url,
  function countRepositories(
    disk: Disk,
    { roots }: { readonly roots: TreeRoots },
  ): RepositoryCounts {
    const isOurs = ({ name }: { readonly name: string }) => !name.startsWith('.');
    const master = masterDirectory(roots);
    return {
      repositories: listIfThere(disk, webDirectory(roots)).filter(isOurs).length,
      snapshots: listIfThere(disk, master)
        .filter((entry) => isOurs(entry) && entry.kind === 'directory')
        .flatMap(({ name }) => listIfThere(disk, join(master, name)))
        .filter(({ name }) => isTimestamp(name)).length,
    };
  },
);
