/**
 * Finishes a claimed drop: writes its receipt, then deletes the drop or, when it was refused, moves it as a
 * whole into .rejected/, where its owner finds it.
 */
import { randomBytes } from 'node:crypto';
import {
  DropdockError,
  fromPlainError,
  hasErrno,
  type PlainError,
  toPlainError,
} from '../errors.js';
import { isTimestamp } from '../repository/timestamp.js';
import type { Disk } from '../storage/disk.js';
import {
  discard,
  forEach,
  readFile,
  removeIfThere,
  withOpen,
  writeNewFile,
} from '../storage/durable.js';
import { FreshFiles } from '../storage/fresh-files.js';
import { job } from '../storage/job.js';
import { removeTree } from '../storage/remove-tree.js';
import {
  type Claim,
  claimedDirectory,
  claimFile,
  doneFile,
  isDone,
  type ReceiptName,
  receiptFile,
  receiptsDirectory,
  rejectedDirectory,
  rejectedFile,
} from './inbox-paths.js';
import {
  inOwn,
  letUploadersIn,
  listOwn,
  type OwnDirectory,
  renameInto,
  setAside,
} from './own-directory.js';
import { within } from './signature.js';

export interface FinishRequest {
  readonly inbox: string;
  readonly claim: Claim;
  /** Text of the receipt. */
  readonly receipt: string;
}

/**
 * Finishes a published drop. The receipt is written first: after a crash in between the next start finds it
 * and only deletes the claim.
 * @throws claim.lost when another daemon has taken it over
 */
export function finishPublished(disk: Disk, { inbox, claim, receipt }: FinishRequest): void {
  const [failed] = finishPublishedBatch(disk, { inbox, drops: [{ claim, receipt }] });
  if (failed) throw fromPlainError(failed);
}

export interface FinishBatchRequest {
  readonly inbox: string;
  readonly drops: readonly Omit<FinishRequest, 'inbox'>[];
}

/**
 * Finishes drops that were published together; their receipts are synced together.
 * @returns for each drop the error that left it claimed, if any
 * @throws system errors that concern all of them
 */
export const finishPublishedBatch = job(
  'fast',
  import.meta.url,
  function finishPublishedBatch(
    disk: Disk,
    { inbox, drops }: FinishBatchRequest,
  ): (PlainError | null)[] {
    const lost = drops.map(({ claim }) => failureOf(() => checkOurs(disk, inbox, claim)));
    const ours = drops.filter((_drop, at) => lost[at] === null);
    if (ours.length === 0) return lost;
    inOwn(disk, receiptsDirectory(inbox), (own) => {
      const written = ours.map(({ claim, receipt }) => ({
        claim,
        receipt,
        path: own.at(unnamedFile(claim)),
      }));
      try {
        FreshFiles.use(disk, { place: own.at('.'), expected: ours.length }, (files) => {
          for (const { path, receipt } of written) {
            files.write(path, Buffer.from(receipt), { mode: 0o644 });
          }
        });
        for (const { path, claim } of written) renameInto(disk, path, own, receiptFile(claim));
      } catch (error) {
        for (const { path } of written) discard(() => removeIfThere(disk, path));
        throw error;
      }
      own.sync();
    });
    return drops.map(
      ({ claim }, at) => lost[at] ?? failureOf(() => markForDeletion(disk, inbox, claim)),
    );
  },
);

function failureOf(work: () => unknown): PlainError | null {
  try {
    work();
    return null;
  } catch (error) {
    return toPlainError(error);
  }
}

/**
 * Finishes a refused drop. When its receipt is visible, the drop is under .rejected/. A crash in between
 * leaves the receipt unnamed, and `finishHalfReceipts` names it.
 * @throws claim.lost when another daemon has taken it over
 */
export const finishRejected = job(
  'fast',
  import.meta.url,
  function finishRejected(disk: Disk, { inbox, claim, receipt }: FinishRequest): void {
    checkOurs(disk, inbox, claim);
    inOwn(disk, receiptsDirectory(inbox), (own) => {
      const unnamed = writeUnnamed(disk, own, claim, receipt);
      own.sync();
      moveToRejected(disk, inbox, claim);
      renameInto(disk, unnamed, own, receiptFile(claim));
      own.sync();
    });
  },
);

function writeUnnamed(disk: Disk, own: OwnDirectory, claim: Claim, receipt: string): string {
  const path = own.at(unnamedFile(claim));
  writeNewFile(disk, path, Buffer.from(receipt), { mode: 0o644 });
  return path;
}

/** Two drops may be claimed in the same millisecond, and two threads may write their receipts. */
function unnamedFile({ owner }: Claim): string {
  return `.${owner}-${randomBytes(8).toString('hex')}`;
}

/** From here on it is no longer a claim. */
export function markForDeletion(disk: Disk, inbox: string, claim: Claim): void {
  inOwn(disk, claimedDirectory(inbox), (own) =>
    disk.rename(own.at(claimFile(claim)), own.at(doneFile(claim))),
  );
}

export function moveToRejected(disk: Disk, inbox: string, claim: Claim): void {
  const kind = checkOurs(disk, inbox, claim);
  const name = rejectedFile(claim);
  inOwn(disk, claimedDirectory(inbox), (claimed) =>
    inOwn(disk, rejectedDirectory(inbox), (rejected) => {
      const from = claimed.at(claimFile(claim));
      if (kind === 'directory') renameInto(disk, from, rejected, name);
      else moveIntoNew(disk, from, rejected, { directory: name, name: claim.name, inbox });
      rejected.sync();
    }),
  );
}

/**
 * A file is rejected into a directory, too. A crash may have left that directory behind; one of another user
 * is in its place by intent.
 */
function moveIntoNew(
  disk: Disk,
  from: string,
  rejected: OwnDirectory,
  to: { readonly directory: string; readonly name: string; readonly inbox: string },
): void {
  const target = rejected.at(to.directory);
  const there = disk.statIfThere(target);
  const isOurs = there?.kind === 'directory' && there.uid === process.getuid?.();
  if (there !== undefined && !isOurs) setAside(disk, rejected, to.directory);
  if (!isOurs) disk.makeDirectory(target);
  withOpen(disk, target, 'directory', (fd) => {
    disk.setMode(fd, 0o755);
    letUploadersIn(disk, fd, to.inbox);
    renameInto(disk, from, { at: (name) => within(fd, name) }, to.name);
    disk.sync(fd);
  });
}

function checkOurs(disk: Disk, inbox: string, claim: Claim): string {
  const stat = inOwn(disk, claimedDirectory(inbox), (own) =>
    disk.statIfThere(own.at(claimFile(claim))),
  );
  if (stat) return stat.kind;
  throw new DropdockError(
    'claim.lost',
    `The claim of '${claim.path}' is gone; another daemon took it over.`,
    {
      path: claim.path,
    },
  );
}

/** Returns whether published drops wait for deletion. */
export function hasMarked(disk: Disk, { inbox }: { readonly inbox: string }): boolean {
  return listOwn(disk, claimedDirectory(inbox)).some(({ name }) => isDone(name));
}

export const deleteMarked = job(
  'background',
  import.meta.url,
  function deleteMarked(disk: Disk, { inbox }: { readonly inbox: string }): number {
    const retired = listOwn(disk, claimedDirectory(inbox)).filter(({ name }) => isDone(name));
    if (retired.length === 0) return 0;
    inOwn(disk, claimedDirectory(inbox), (own) =>
      forEach(retired, ({ name }) => removeTree(disk, own.at(name))),
    );
    return retired.length;
  },
);

/** Names receipts that dead processes wrote but did not name. */
export function finishHalfReceipts(disk: Disk, inbox: string, dead: readonly string[]): void {
  const isTheirs = (name: string) => dead.some((token) => name.startsWith(`.${token}-`));
  const half = listOwn(disk, receiptsDirectory(inbox)).filter(({ name }) => isTheirs(name));
  if (half.length === 0) return;
  inOwn(disk, receiptsDirectory(inbox), (receipts) =>
    inOwn(disk, rejectedDirectory(inbox), (rejected) => {
      for (const { name } of half) finishHalf(disk, receipts.at(name), receipts, rejected);
    }),
  );
}

function finishHalf(
  disk: Disk,
  path: string,
  receipts: OwnDirectory,
  rejected: OwnDirectory,
): void {
  // Another daemon may be doing the same. A link or directory is not a receipt.
  if (disk.statIfThere(path)?.kind !== 'file') return;
  const about = rejectionIn(readFile(disk, path, Number.MAX_SAFE_INTEGER));
  const isMoved = about && disk.statIfThere(rejected.at(rejectedFile(about))) !== undefined;
  if (isMoved && !disk.statIfThere(receipts.at(receiptFile(about)))) {
    renameIfThere(disk, path, receipts.at(receiptFile(about)));
  } else removeIfThere(disk, path);
}

function renameIfThere(disk: Disk, from: string, to: string): void {
  try {
    disk.rename(from, to);
  } catch (error) {
    if (!hasErrno(error, 'ENOENT')) throw error;
  }
}

/** Returns the claim of a receipt; undefined unless the receipt is complete and reports a rejection. */
function rejectionIn(receipt: Buffer): ReceiptName | undefined {
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
