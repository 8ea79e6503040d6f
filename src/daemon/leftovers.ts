/** Finds what dead processes may have left. It runs every few seconds, so it reads only three short lists. */

import { clockOwners, listClaims } from '../inbox/claim.js';
import { hasMarked } from '../inbox/finish.js';
import type { Claim } from '../inbox/inbox-paths.js';
import type { Disk } from '../storage/disk.js';
import { job } from '../storage/job.js';
import { workOwners } from '../storage/transaction.js';
import type { TreeRoots } from '../storage/tree-paths.js';

export interface Leftovers {
  readonly claims: readonly Claim[];
  /** Process ids of the tree that own claims, clock files or work directories; living and dead ones. */
  readonly owners: readonly string[];
  /** True if published drops are still marked for deletion. */
  readonly hasMarked: boolean;
}

export const findLeftovers = job(
  'fast',
  import.meta.url,
  function findLeftovers(
    disk: Disk,
    { inbox, roots }: { readonly inbox: string; readonly roots: TreeRoots },
  ): Leftovers {
    const claims = listClaims(disk, { inbox });
    const owners = [
      ...claims.map((claim) => claim.owner),
      ...clockOwners(disk, { inbox }),
      ...workOwners(disk, { roots }),
    ];
    return { claims, owners: [...new Set(owners)], hasMarked: hasMarked(disk, { inbox }) };
  },
);
