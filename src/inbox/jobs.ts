/** What the inbox asks of the worker threads, but for what needs the readers as well. */
import type { Disk } from '../disk/disk.js';
import { bytesBelow } from '../disk/receive.js';
import {
  claimKind,
  clockOwners,
  listClaims,
  prepareInbox,
  returnClaim,
  takeClaim,
  takeOverClaims,
} from './claim.js';
import { whatForbids } from './forbidden.js';
import { deleteRetired, letGoPublished, letGoRejected } from './let-go.js';
import { inOwn } from './own-directory.js';
import { claimedDirectory, clockFile } from './paths.js';
import { listRejected } from './rejected.js';
import { filesystemNow } from './scan.js';

export const inboxJobs = {
  prepareInbox,
  claimKind,
  clockOwners,
  takeClaim,
  returnClaim,
  letGoPublished,
  letGoRejected,
  deleteRetired,
  listClaims,
  takeOverClaims,
  listRejected,
  whatForbids,
  dropBytes: (_disk: Disk, { path }: { readonly path: string }): number => bytesBelow(path),
  inboxTime: (disk: Disk, { inbox, owner }: { readonly inbox: string; readonly owner: string }) =>
    inOwn(disk, claimedDirectory(inbox), (own) => filesystemNow(disk, own.at(clockFile(owner)))),
} as const;

export type InboxJobs = typeof inboxJobs;
