/** What the inbox asks of the worker threads, but for what needs the readers as well. */
import { join } from 'node:path';
import type { Disk } from '../disk/disk.js';
import {
  deleteRetired,
  listClaims,
  prepareInbox,
  rejectClaim,
  retireClaim,
  takeClaim,
  takeOverClaims,
  writeReceipt,
} from './claim.js';
import { claimedDirectory } from './paths.js';
import { filesystemNow } from './scan.js';

export const inboxJobs = {
  prepareInbox,
  takeClaim,
  writeReceipt,
  retireClaim,
  rejectClaim,
  deleteRetired,
  listClaims,
  takeOverClaims,
  inboxTime: (disk: Disk, { inbox, owner }: { readonly inbox: string; readonly owner: string }) =>
    filesystemNow(disk, join(claimedDirectory(inbox), `.clock-${owner}`)),
} as const;

export type InboxJobs = typeof inboxJobs;
