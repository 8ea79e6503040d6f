/**
 * A directory under work/ for unfinished work. While it exists, content that entered the store since is not
 * swept.
 */
import { crash } from '../crash.js';
import { faultOf, hasErrno } from '../errors.js';
import type { Disk } from './disk.js';
import { ensureDirectory, listIfThere } from './durable.js';
import { job, type RunJob } from './job.js';
import { moveToTrash } from './trash.js';
import {
  type TreeRoots,
  transactionName,
  transactionOwner,
  workDirectory,
  workPath,
} from './tree-paths.js';

export interface Transaction {
  readonly roots: TreeRoots;
  readonly transaction: string;
}

/**
 * Its name is synced although nothing reads it after a crash: a tree is built below it and renamed out of it,
 * and btrfs (Linux 6.18) cannot replay its log when it knows only one of the two. After a power cut the
 * filesystem could not be mounted (test/crash/power-cut, 6 of 12 seeds).
 */
export const begin = job(
  'fast',
  import.meta.url,
  function begin(disk: Disk, { roots, transaction }: Transaction): void {
    ensureDirectory(disk, workPath(roots, transaction));
  },
);

export const end = job(
  'fast',
  import.meta.url,
  function end(disk: Disk, { roots, transaction }: Transaction): void {
    const path = workPath(roots, transaction);
    try {
      disk.removeDirectory(path);
    } catch (error) {
      if (hasErrno(error, 'ENOENT')) return;
      if (!hasErrno(error, 'ENOTEMPTY', 'EEXIST')) throw error;
      moveToTrash(disk, roots, path, `work@${transaction}`);
    }
  },
);

/** Returns the processes that own work under work/, living or dead. */
export const workOwners = job(
  'fast',
  import.meta.url,
  function workOwners(disk: Disk, { roots }: { readonly roots: TreeRoots }): string[] {
    const names = listIfThere(disk, workDirectory(roots)).map(({ name }) => transactionOwner(name));
    return [...new Set(names)];
  },
);

/** Generates names for the transactions of one process. */
export class TransactionNames {
  #serial = 0;

  constructor(
    readonly owner: string,
    readonly nowMs: () => number,
  ) {}

  next(): string {
    return transactionName(this.owner, this.nowMs(), ++this.#serial);
  }
}

/** Delay of the first retry; it grows up to the second. */
const END_AGAIN_MS = 1000;
const END_AGAIN_MS_MAX = 60_000;

/**
 * Deletes the directory of a transaction. After an error it retries until it succeeds, or this process ends
 * and another one does it.
 * @throws the first error
 */
export async function endTransaction(run: RunJob, transaction: Transaction): Promise<void> {
  try {
    await run(end, transaction);
  } catch (error) {
    endLater(() => run(end, transaction), END_AGAIN_MS);
    throw error;
  }
}

function endLater(endAgain: () => Promise<unknown>, waitMs: number): void {
  const again = (error: unknown) => {
    if (faultOf(error) === 'bug') crash(error);
    else endLater(endAgain, Math.min(waitMs * 2, END_AGAIN_MS_MAX));
  };
  setTimeout(() => {
    endAgain().catch(again);
  }, waitMs).unref();
}

/**
 * Runs `work` within a transaction.
 * @throws what `work` throws
 */
export async function inTransaction<T>(
  run: RunJob,
  transaction: Transaction,
  work: () => Promise<T>,
): Promise<T> {
  try {
    await run(begin, transaction);
    return await work();
  } finally {
    await endTransaction(run, transaction).catch(() => {
      // It is retried.
    });
  }
}
