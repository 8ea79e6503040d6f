/**
 * The published tree as a target. The order of the steps is what the guarantees rest on (docs/design.md):
 *
 *    1. claim the drops
 *    2. lock the repository
 *    3. read which snapshot the pivot names
 *    4. (before the lock: read and store the drops; content is named by digest and needs no lock)
 *    5. apply the change and render the next snapshot as a plain list of files
 *    6. build it under work/
 *    7. write the redirect file into it
 *    8. sync files, then directories; rename it to master/<id>/<timestamp>; sync that directory
 *    9. check that this process still holds the lock and that the pivot is unchanged since step 3
 *   10. flip: one rename over web/<id>; sync web/
 *   11. place app/<id>.json; sync app/
 *   12. remove old snapshots
 *   13. unlock
 *   14. write the receipt; delete the claim
 *
 * A failure before step 10 is thrown and readers see no change (I3). After step 10 nothing fails the publish
 * (I4): errors go into `later`, and the next publish or clean completes the work.
 */

import { DropdockError, fromPlainError } from '../../errors.js';
import type { RepositoryId } from '../../image/names.js';
import {
  type CleanResult,
  type CurrentSnapshot,
  type DropOutcome,
  type Fetching,
  type HistoryEntry,
  type NeededContent,
  outcomeOfMerge,
  type PublishResult,
  type RepairResult,
  type RepositoryOverview,
  type StagedDrop,
  type StartResult,
  type Target,
  type TargetChange,
  type TargetOverview,
  type VerifyReport,
  type Waiting,
} from '../../publisher/target.js';
import { type FlipDetails, flipDetails } from '../../repository/flip-details.js';
import type { DropToMerge, RepositoryPolicy } from '../../repository/next-state.js';
import type { SnapshotReason, SnapshotText } from '../../repository/snapshot-file.js';
import { type Timestamp, toTimestamp } from '../../repository/timestamp.js';
import { lockRepository, type RepositoryLock } from '../../storage/repository-lock.js';
import { nothingIngested } from '../../storage/stored.js';
import { endTransaction, type TransactionNames } from '../../storage/transaction.js';
import type { FlipObserver } from '../target-kind.js';
import { type BuildOutcome, type BuildResult, buildSnapshot, checkDrop } from './build-snapshot.js';
import { cleanAndEnd, withdraw } from './clean-snapshots.js';
import { DirectoryUpkeep, type DirectoryUpkeepOptions } from './directory-upkeep.js';
import { afterFlip, flipTo } from './flip.js';
import { repositoryContents, repositoryHistory, repositoryOverview } from './overview.js';
import { currentSnapshot, readLocalText } from './pivot.js';
import { listRepositories } from './recover.js';

export interface DirectoryTargetOptions extends DirectoryUpkeepOptions {
  readonly name: string;
  readonly transactions: TransactionNames;
  readonly observer?: FlipObserver;
}

const COLUMNS = ['repository', 'snapshot', 'age', 'tags', 'kept', 'own', 'shared'] as const;

export class DirectoryTarget implements Target {
  readonly #options: DirectoryTargetOptions;
  readonly #upkeep: DirectoryUpkeep;

  constructor(options: DirectoryTargetOptions) {
    this.#options = options;
    this.#upkeep = new DirectoryUpkeep(options, (policy) =>
      this.publish(policy, { kind: 'expire' }),
    );
  }

  get name(): string {
    return this.#options.name;
  }

  repositories(): Promise<RepositoryId[]> {
    const { run, roots } = this.#options;
    return run(listRepositories, { roots });
  }

  current(id: RepositoryId): Promise<CurrentSnapshot | undefined> {
    const { run, roots } = this.#options;
    return run(currentSnapshot, { roots, id });
  }

  history(id: RepositoryId): Promise<HistoryEntry[]> {
    const { run, roots } = this.#options;
    return run(repositoryHistory, { roots, id });
  }

  /** Reads all repositories even when asked for one: shared content is found by comparing with the others. */
  async overview(asked?: RepositoryId): Promise<TargetOverview> {
    const { run, roots } = this.#options;
    const found: { overview: RepositoryOverview; sizes: ReadonlyMap<string, number> }[] = [];
    const strangers: { id: string; message: string }[] = [];
    const holders = new Map<string, number>();
    for (const id of await run(listRepositories, { roots })) {
      try {
        const overview = await run(repositoryOverview, { roots, id });
        const sizes = await run(repositoryContents, { roots, id });
        for (const digest of sizes.keys()) holders.set(digest, (holders.get(digest) ?? 0) + 1);
        if (overview === undefined || (asked !== undefined && id !== asked)) continue;
        found.push({ overview, sizes });
      } catch (error) {
        // An entry that dropdock did not make must not hide the others.
        if (id === asked || !(error instanceof DropdockError)) throw error;
        strangers.push({ id, message: error.message });
      }
    }
    const repositories = found.map(({ overview, sizes }) => {
      let [sharedBytes, ownBytes] = [0, 0];
      for (const [digest, size] of sizes) {
        if ((holders.get(digest) ?? 0) > 1) sharedBytes += size;
        else ownBytes += size;
      }
      return { ...overview, sharedBytes, ownBytes };
    });
    return { repositories, strangers, columns: COLUMNS };
  }

  verify(id?: RepositoryId): Promise<VerifyReport | undefined> {
    return this.#upkeep.verify(id);
  }

  repair(id?: RepositoryId): Promise<RepairResult | undefined> {
    return this.#upkeep.repair(id);
  }

  start(): Promise<StartResult> {
    return this.#upkeep.start();
  }

  clean(options: { readonly dryRun: boolean }): Promise<CleanResult> {
    return this.#upkeep.clean(options);
  }

  cleanIfDue(): Promise<CleanResult> {
    return this.#upkeep.cleanIfDue();
  }

  currentText(id: RepositoryId): Promise<SnapshotText | undefined> {
    const { run, roots } = this.#options;
    return run(readLocalText, { roots, id });
  }

  /** A publish hashes and links all content. */
  async lacking(needs: readonly NeededContent[]): Promise<readonly NeededContent[]> {
    return needs;
  }

  /** Published content is already in the content store. */
  async fetch(needs: readonly NeededContent[], { onBytes }: Fetching): Promise<void> {
    for (const { size } of needs) onBytes(size);
  }

  /** A publish finds the content in the content store. */
  async send(): Promise<void> {}

  async check(policy: RepositoryPolicy, drop: DropToMerge): Promise<void> {
    const { run, roots } = this.#options;
    const error = await run(checkDrop, { roots, policy, drop });
    if (error) throw fromPlainError(error);
  }

  async publish(
    policy: RepositoryPolicy,
    change: TargetChange,
    waiting: Waiting = {},
  ): Promise<PublishResult> {
    const { roots, run, transactions, emit } = this.#options;
    emit({ type: 'repository.changing', id: policy.id });
    const later: Error[] = [];
    const beganMs = performance.now();
    const waited = () => emit({ type: 'lock.waited', tookMs: performance.now() - beganMs });
    const options = { ...this.#options.lock(), ...waiting };
    const lock = await lockRepository(roots, policy.id, options).finally(waited); // 2
    try {
      const turn = { policy, change, lock, transaction: transactions.next(), later };
      let isEnded = false;
      try {
        const result = await this.#publishLocked(turn);
        isEnded = result.removed !== undefined;
        return { ...result, removed: result.removed ?? [] };
      } finally {
        const { transaction } = turn;
        if (!isEnded) await attempt(later, () => endTransaction(run, { roots, transaction }));
      }
    } finally {
      await attempt(later, () => lock.release()); // 13
    }
  }

  async #publishLocked(
    turn: Turn,
  ): Promise<Omit<PublishResult, 'removed'> & { removed: Timestamp[] | undefined }> {
    const { change, later } = turn;
    const built = await this.#build(turn); // 3, 5 to 8
    const { snapshot, base, moves, to, repaired } = built;
    const unsynced = snapshot === null ? undefined : await this.#flip(turn, built, snapshot); // 9 to 11
    const drops = change.kind === 'publish' ? change.drops : [];
    const outcomes = drops.map((drop, at) => {
      const outcome = built.outcomes[at];
      return outcomeOf(drop, outcome as BuildOutcome, built, unsynced);
    });
    // The edit has taken effect and must not be reported as failed: repeating a rollback would undo it.
    if (unsynced && change.kind !== 'publish') later.push(unsynced);
    const removed = await this.#clean(turn); // 12
    return { outcomes, snapshot, base, moves, to, repaired, later, removed };
  }

  async #build({ policy, change, transaction }: Turn): Promise<BuildResult> {
    const { roots, run, owner, nowMs, clock, emit } = this.#options;
    const given =
      change.kind === 'publish' ? { ...change, drops: change.drops.map(toBuild) } : change;
    const times = { nowMs: nowMs(), clock: clock() };
    const request = { roots, policy, transaction, owner, ...times, change: given };
    const built = await run(buildSnapshot, request);
    for (const step of ['mend', 'build'] as const) {
      emit({ type: 'step.done', step, tookMs: built.steps[step] });
    }
    return built;
  }

  /**
   * Steps 9 to 11: makes the built snapshot current.
   * @returns the error that prevented syncing the flip, if any
   * @throws lock.lost, pivot.moved, system errors; the pivot is unchanged then
   */
  async #flip(
    { policy: { id }, change, lock, later }: Turn,
    { base, reason, moves, files }: BuildResult,
    snapshot: Timestamp,
  ): Promise<Error | undefined> {
    const { roots, run, observer, emit } = this.#options;
    const observed = await observer?.beforeFlip({ id, snapshot, base });
    try {
      const beganMs = performance.now();
      let unsynced: Error | undefined;
      try {
        const errors = await run(flipTo, { roots, id, base, snapshot, lockLost: lock.lost });
        [unsynced] = errors.map(fromPlainError);
      } catch (error) {
        await attempt(later, () => run(withdraw, { roots, id, snapshot }));
        throw error;
      }
      emit({ type: 'step.done', step: 'flip', tookMs: performance.now() - beganMs });
      emit({ type: 'flip.done', id, snapshot, files });
      await this.#afterFlip(
        id,
        { snapshot, ...reason, ...flipDetails(change, reason, moves) },
        later,
      );
      return unsynced;
    } finally {
      await observed?.();
    }
  }

  /** Step 11 and the history record of the flip. */
  async #afterFlip(
    id: RepositoryId,
    flip: SnapshotReason & FlipDetails & { readonly snapshot: Timestamp },
    later: Error[],
  ): Promise<void> {
    const { roots, run, owner, nowMs, clock, emit } = this.#options;
    // Read after the flip, so that the replaced snapshot is never judged older than it is.
    const reading = clock();
    const record = { at: toTimestamp(nowMs()), ...flip, clock: reading };
    const beganMs = performance.now();
    const errors = await attempt(later, () => run(afterFlip, { roots, id, owner, record }));
    later.push(...(errors ?? []).map(fromPlainError));
    emit({ type: 'step.done', step: 'link', tookMs: performance.now() - beganMs });
  }

  /**
   * Step 12 and removal of the work directory.
   * @returns undefined when that failed
   */
  async #clean({ policy, lock, transaction, later }: Turn): Promise<Timestamp[] | undefined> {
    const { roots, run, nowMs, clock, emit } = this.#options;
    const { id, keep, graceMs } = policy;
    const judged = { keep, graceMs, nowMs: nowMs(), clock: clock() };
    const request = { roots, id, ...judged, lockLost: lock.lost, transaction };
    const beganMs = performance.now();
    const removed = await attempt(later, () => run(cleanAndEnd, request));
    emit({ type: 'step.done', step: 'clean', tookMs: performance.now() - beganMs });
    if (removed) emit({ type: 'snapshots.removed', count: removed.length });
    return removed;
  }
}

/** A publish, under the repository's lock. */
interface Turn {
  readonly policy: RepositoryPolicy;
  readonly change: TargetChange;
  readonly lock: RepositoryLock;
  readonly transaction: string;
  /** Errors after the flip. */
  readonly later: Error[];
}

/** Omits what the worker thread does not need, to avoid copying it. */
function toBuild({ path, content, origin }: StagedDrop) {
  return { path, content, origin };
}

/**
 * @param unsynced set when the flip is done but may not be on disk: the claim is kept until a later publish
 *   or clean has synced it
 */
function outcomeOf(
  drop: StagedDrop,
  outcome: BuildOutcome,
  built: BuildResult,
  unsynced: Error | undefined,
): DropOutcome {
  // Publishing the drop once more would undo later changes (a rollback, an untag).
  if ('before' in outcome) {
    return { status: 'published', ...outcome.before, ingested: nothingIngested(), leftOut: [] };
  }
  if (outcome.ok && unsynced !== undefined) return { status: 'retry', error: unsynced };
  return outcomeOfMerge(drop, outcome, built);
}

/**
 * Runs work that must not fail the publish. Its error goes into `later`; the next publish or clean repeats
 * it.
 */
async function attempt<T>(later: Error[], work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    later.push(error as Error);
    return undefined;
  }
}
