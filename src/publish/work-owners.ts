/** Whose unfinished work there is. */
import type { Disk } from '../disk/disk.js';
import { listIfThere } from '../disk/durable.js';
import { type TreeRoots, transactionOwner, workDirectory } from './paths.js';

/** Whose work lies under work/, living or dead. */
export function workOwners(disk: Disk, { roots }: { readonly roots: TreeRoots }): string[] {
  const names = listIfThere(disk, workDirectory(roots)).map(({ name }) => transactionOwner(name));
  return [...new Set(names)];
}
