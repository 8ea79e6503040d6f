/**
 * What every change of a repository has in common, whatever it changes: the lock, the mending, what
 * the pivot named when it began, the flip, the cleaning. publish.ts has the steps by number.
 */

import { crash } from '../crash.js';
import type { RunJob } from '../disk/hands.js';
import { faultOf, fromPlainError } from '../errors.js';
import type { ClockReading } from '../snapshot/elapsed.js';
import type { SnapshotReason } from '../snapshot/snapshot-file.js';
import type { Origin } from '../snapshot/state.js';
import { type Timestamp, toTimestamp } from '../snapshot/timestamp.js';
import type { StageJob } from './drop.js';
import type { Opened, OpenRequest, PublishJobs } from './jobs.js';
import { type LockOptions, lockRepository, type RepositoryLock } from './lock.js';
import type { RepositoryPolicy } from './next-snapshot.js';
import { type TreeRoots, transactionName } from './paths.js';
import type { PublishedBefore } from './published-before.js';

export interface PublishContext {
  readonly roots: TreeRoots;
  /** The token of this process. */
  readonly owner: string;
  readonly uid: number;
  readonly run: RunJob<PublishJobs & StageJob>;
  /** The wall clock, which may be set at any moment: for names, and for people. */
  readonly nowMs: () => number;
  /** A clock that is never set: how much time has passed. */
  readonly clock: () => ClockReading;
  readonly lock: LockOptions;
}

/** One repository's turn, under its lock. */
export interface Turn {
  readonly context: PublishContext;
  readonly policy: RepositoryPolicy;
  readonly lock: RepositoryLock;
  readonly transaction: string;
  /** What the pivot named when the turn began. */
  readonly base: Timestamp | null;
  /** What earlier tries have published already, in the order of the drops. */
  readonly before: readonly (PublishedBefore | null)[];
  /** Collects what could not be done after the flip. */
  readonly later: Error[];
  /** Nothing of it lies under work/ any more. */
  isEnded: boolean;
}

export interface TurnResult {
  /** What a crash had left undone and this visit has done, in words. */
  readonly mended: readonly string[];
  /** What could not be done after the flip. */
  readonly later: readonly Error[];
}

let serial = 0;

/** A name under work/ for what this process is about to do. */
export function newTransaction({ owner, nowMs }: Pick<PublishContext, 'owner' | 'nowMs'>): string {
  return transactionName(owner, nowMs(), ++serial);
}

/** So long after it failed it is tried again; later and later, but no later than the second. */
const END_AGAIN_MS = 1000;
const END_AGAIN_MS_MAX = 60_000;

/**
 * Takes away what a transaction has under work/. As long as that is there nothing is swept from the store that
 * came since; so where it fails it is tried again until it works, or this process ends and another one does it.
 * @throws what it failed with at first
 */
export async function endTransaction(
  { roots, run }: Pick<PublishContext, 'roots' | 'run'>,
  transaction: string,
): Promise<void> {
  try {
    await run('end', { roots, transaction });
  } catch (error) {
    endLater(() => run('end', { roots, transaction }), END_AGAIN_MS);
    throw error;
  }
}

function endLater(end: () => Promise<unknown>, waitMs: number): void {
  const again = (error: unknown) => {
    if (faultOf(error) === 'bug') crash(error);
    else endLater(end, Math.min(waitMs * 2, END_AGAIN_MS_MAX));
  };
  setTimeout(() => {
    end().catch(again);
  }, waitMs).unref();
}

/** Step 3, under the lock, and perhaps more in the same go. */
export type Open<O extends Opened> = (request: OpenRequest) => Promise<O>;

/**
 * Steps 2, 3 and 14 around `work`.
 * @param drops may have been published by an earlier try; none for a change by hand
 * @throws lock.busy, and what `open` and `work` throw
 */
export async function withTurn<T, O extends Opened>(
  context: PublishContext,
  policy: RepositoryPolicy,
  drops: readonly Origin[],
  open: Open<O>,
  work: (turn: Turn, opened: O) => Promise<T>,
): Promise<T & TurnResult> {
  const { roots, owner } = context;
  const { id } = policy;
  const later: Error[] = [];
  const lock = await lockRepository(roots, id, context.lock); // 2
  try {
    const transaction = newTransaction(context);
    const turn = { context, policy, lock, transaction, later, isEnded: false };
    try {
      const opened = await open({ roots, id, owner, transaction, drops }); // 3
      const { mended, base, before } = opened;
      const done = await work(Object.assign(turn, { base, before }), opened);
      return { ...done, mended, later };
    } finally {
      if (!turn.isEnded) await attempt({ later }, () => endTransaction(context, transaction));
    }
  } finally {
    await attempt({ later }, () => lock.release()); // 14
  }
}

/** For what may no longer fail the publish: its failure is noted, and the next visit does it. */
export async function attempt<T>(
  { later }: Pick<Turn, 'later'>,
  work: () => Promise<T>,
): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    later.push(error as Error);
    return undefined;
  }
}

/**
 * Steps 9 to 11: the built snapshot becomes what clients see.
 * @returns what kept the flip from being synced
 * @throws lock.lost, pivot.moved, system errors: then the pivot is as it was
 */
export async function commit(
  turn: Turn,
  snapshot: Timestamp,
  reason: SnapshotReason,
): Promise<Error | undefined> {
  const { context, policy, lock, base, later } = turn;
  const { roots, run, owner } = context;
  const { id } = policy;
  let unsynced: Error | undefined;
  try {
    const errors = await run('flip', { roots, id, base, snapshot, lockLost: lock.lost }); // 9, 10
    [unsynced] = errors.map(fromPlainError);
  } catch (error) {
    await attempt(turn, () => run('withdraw', { roots, id, snapshot }));
    throw error;
  }
  // After the flip: what it replaced has been out of date for no longer than since this reading.
  const clock = context.clock();
  const record = { at: toTimestamp(context.nowMs()), snapshot, ...reason, clock };
  const errors = await attempt(turn, () => run('afterFlip', { roots, id, owner, record })); // 11
  later.push(...(errors ?? []).map(fromPlainError));
  return unsynced;
}

/** Step 13, and the end of what lies under work/. @returns the snapshots that went */
export async function cleanAfter(turn: Turn): Promise<Timestamp[]> {
  const { context, policy, lock, transaction } = turn;
  const { roots, run, nowMs, clock } = context;
  const { id, keep, graceMs } = policy;
  const judged = { keep, graceMs, nowMs: nowMs(), clock: clock() };
  const request = { roots, id, ...judged, lockLost: lock.lost, transaction };
  const removed = await attempt(turn, () => run('cleanAndEnd', request));
  turn.isEnded = removed !== undefined;
  return removed ?? [];
}
