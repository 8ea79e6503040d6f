/** What dead processes may have left, found by three short lists: asked every few seconds, for ever. */

import { clockOwners, listClaims } from '../inbox/claim.js';
import { hasMarked } from '../inbox/finish.js';
import type { Claim } from '../inbox/inbox-paths.js';
import type { Disk } from '../storage/disk.js';
import { job } from '../storage/job.js';
import { workOwners } from '../storage/transaction.js';
import type { TreeRoots } from '../storage/tree-paths.js';

export interface Leftovers {
  readonly claims: readonly Claim[];
  /** Whose claims, clocks and work there are: of the living and the dead. */
  readonly owners: readonly string[];
  /** Whether published drops are not deleted yet. */
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
