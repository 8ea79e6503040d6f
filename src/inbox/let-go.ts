/**
 * Letting go of a claimed drop: its receipt, and then the drop itself deleted or, when it was
 * refused, moved whole to where its owner finds it.
 */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { Disk } from '../disk/disk.js';
import {
  ensureDirectory,
  forEach,
  listIfThere,
  readFile,
  removeIfThere,
  statIfThere,
  syncDirectory,
  writeNewFile,
} from '../disk/durable.js';
import { removeTree } from '../disk/remove-tree.js';
import { DropdockError, hasErrno } from '../errors.js';
import { isTimestamp } from '../snapshot/timestamp.js';
import {
  type Claim,
  claimedDirectory,
  claimPath,
  donePath,
  isDone,
  receiptPath,
  receiptsDirectory,
  rejectedDirectory,
  rejectedPath,
} from './paths.js';

export interface LetGoRequest {
  readonly inbox: string;
  readonly claim: Claim;
  /** The receipt's text. */
  readonly receipt: string;
}

/**
 * The drop is published. Its receipt comes first: a crash in between finds the receipt, and only
 * deletes.
 * @throws claim.lost when another daemon has taken it over
 */
export function letGoPublished(disk: Disk, { inbox, claim, receipt }: LetGoRequest): void {
  checkOurs(disk, inbox, claim);
  disk.rename(writeUnnamed(disk, inbox, claim, receipt), receiptPath(inbox, claim));
  syncDirectory(disk, receiptsDirectory(inbox));
  retire(disk, inbox, claim);
}

/**
 * The drop is refused. Whoever sees its receipt finds it under .rejected/; a crash in between
 * leaves the receipt unnamed, and `finishHalfReceipts` names it.
 * @throws claim.lost when another daemon has taken it over
 */
export function letGoRejected(disk: Disk, { inbox, claim, receipt }: LetGoRequest): void {
  checkOurs(disk, inbox, claim);
  const unnamed = writeUnnamed(disk, inbox, claim, receipt);
  syncDirectory(disk, receiptsDirectory(inbox));
  moveToRejected(disk, inbox, claim);
  disk.rename(unnamed, receiptPath(inbox, claim));
  syncDirectory(disk, receiptsDirectory(inbox));
}

/** Two drops may be claimed in one millisecond, and two threads write their receipts. */
function writeUnnamed(disk: Disk, inbox: string, { owner }: Claim, receipt: string): string {
  const name = `.${owner}-${randomBytes(8).toString('hex')}`;
  const path = join(receiptsDirectory(inbox), name);
  writeNewFile(disk, path, Buffer.from(receipt), { mode: 0o644 });
  return path;
}

/** It is no drop from here on. */
export function retire(disk: Disk, inbox: string, claim: Claim): void {
  disk.rename(claimPath(inbox, claim), donePath(inbox, claim));
}

export function moveToRejected(disk: Disk, inbox: string, claim: Claim): void {
  const target = rejectedPath(inbox, claim);
  if (checkOurs(disk, inbox, claim) === 'directory') disk.rename(claimPath(inbox, claim), target);
  else {
    ensureDirectory(disk, target);
    disk.rename(claimPath(inbox, claim), join(target, claim.name));
  }
  syncDirectory(disk, rejectedDirectory(inbox));
}

function checkOurs(disk: Disk, inbox: string, claim: Claim): string {
  const stat = statIfThere(disk, claimPath(inbox, claim));
  if (stat) return stat.kind;
  throw new DropdockError('claim.lost', `The claim on ${claim.name} is gone.`, {
    path: claim.name,
  });
}

/** Deletes what was published. @returns how many drops */
export function deleteRetired(disk: Disk, { inbox }: { readonly inbox: string }): number {
  const retired = listIfThere(disk, claimedDirectory(inbox)).filter(({ name }) => isDone(name));
  forEach(retired, ({ name }) => removeTree(disk, join(claimedDirectory(inbox), name)));
  return retired.length;
}

/** Receipts that dead processes wrote and had no time to name. */
export function finishHalfReceipts(disk: Disk, inbox: string, dead: readonly string[]): void {
  const directory = receiptsDirectory(inbox);
  for (const { name } of listIfThere(disk, directory)) {
    if (!dead.some((token) => name.startsWith(`.${token}-`))) continue;
    const path = join(directory, name);
    // Another daemon may be doing the same.
    if (!statIfThere(disk, path)) continue;
    const about = rejectionIn(readFile(disk, path, Number.MAX_SAFE_INTEGER));
    const isMoved = about && statIfThere(disk, rejectedPath(inbox, about)) !== undefined;
    if (isMoved && !statIfThere(disk, receiptPath(inbox, about))) {
      renameIfThere(disk, path, receiptPath(inbox, about));
    } else removeIfThere(disk, path);
  }
}

function renameIfThere(disk: Disk, from: string, to: string): void {
  try {
    disk.rename(from, to);
  } catch (error) {
    if (!hasErrno(error, 'ENOENT')) throw error;
  }
}

/** Which claim a receipt speaks of; undefined unless it is whole and tells of a rejection. */
function rejectionIn(receipt: Buffer): Omit<Claim, 'owner'> | undefined {
  try {
    const { status, claim, claimedAt } = JSON.parse(receipt.toString('utf8')) as {
      status?: unknown;
      claim?: unknown;
      claimedAt?: unknown;
    };
    if (status !== 'rejected' || typeof claim !== 'string') return undefined;
    if (typeof claimedAt !== 'string' || !isTimestamp(claimedAt)) return undefined;
    return { name: claim, at: claimedAt };
  } catch {
    return undefined;
  }
}
