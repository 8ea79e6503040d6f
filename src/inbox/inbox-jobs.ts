/** What the inbox asks of the worker threads, but for what needs the readers as well. */
import type { Disk } from '../storage/disk.js';
import { bytesBelow } from '../storage/receive.js';
import { claimKind, listClaims, prepareInbox, returnClaim, takeOverClaims } from './claim.js';
import { deleteRetired, letGoPublished, letGoRejected, letGoTogether } from './finish.js';
import { whatForbids } from './forbidden.js';
import { listRejected } from './rejected.js';

export const inboxJobs = {
  prepareInbox,
  claimKind,
  returnClaim,
  letGoPublished,
  letGoTogether,
  letGoRejected,
  deleteRetired,
  listClaims,
  takeOverClaims,
  listRejected,
  whatForbids,
  dropBytes: (_disk: Disk, { path }: { readonly path: string }): number => bytesBelow(path),
} as const;

export type InboxJobs = typeof inboxJobs;
