/**
 * Publishes claimed drops and writes their receipts. Each drop is staged once and then published to every
 * target of its repository. Each target has its own queue, so no target waits for another. Decides what is
 * retried, how a batch is split when one of its drops is refused, and what is reported.
 */
import PQueue from 'p-queue';
import { DropdockError, faultOf, fromPlainError } from '../errors.js';
import type { RepositoryName } from '../image/names.js';
import { returnClaim } from '../inbox/claim.js';
import { finishPublishedBatch, finishRejected } from '../inbox/finish.js';
import { claimKey, rejectedPath } from '../inbox/inbox-paths.js';
import { formatReceipt, heldBack, type ReceiptFrame, rejectedReceipt } from '../report.js';
import { toTimestamp } from '../repository/timestamp.js';
import type { ResolvedRepository } from '../settings/repository-policy.js';
import { elsewhereOf, isLocalOnly } from '../settings/target-settings.js';
import type { RunJob } from '../storage/job.js';
import { begin, endTransaction, type TransactionNames } from '../storage/transaction.js';
import type { TreeRoots } from '../storage/tree-paths.js';
import { BatchQueue, InOrder } from './batch-queue.js';
import {
  type ClaimedDrop,
  type DropRecord,
  isDelivered,
  newPart,
  overallOf,
  overallOutcome,
  type Part,
} from './drop-record.js';
import { type EmitEvent, timed } from './events.js';
import { partsOf, type StagingContext, stageDrop } from './stage-drop.js';
import type { StoredDrop } from './stored-drop.js';
import type { DropOutcome, PublishedOutcome, PublishResult, Target } from './target.js';

export interface PublisherContext {
  readonly inbox: string;
  /** The directory that holds `.claimed` and `.receipts`. */
  readonly ownInbox: string;
  readonly roots: TreeRoots;
  readonly uid: number;
  readonly run: RunJob;
  readonly stage: StagingContext['stage'];
  readonly transactions: TransactionNames;
  readonly emit: EmitEvent;
  readonly target: (name: string) => Target;
  readonly policyOf: (repository: RepositoryName) => ResolvedRepository;
  /** Updates what is known of the repository's targets, before a thin drop is checked against it. */
  readonly lookAgain: (policy: ResolvedRepository) => Promise<void>;
  /** Delay before the first retry, and the longest delay (ms). */
  readonly retry: () => { readonly first: number; readonly most: number };
  /** Claims in progress, by `claimKey`. */
  readonly liveClaims: Set<string>;
  readonly nowMs: () => number;
  /** Monotonic clock. */
  readonly monotonicMs: () => number;
  /** Records the notification for a rejection before it takes effect. Must not throw. */
  readonly beforeRejection: (receipt: string) => Promise<void>;
}

export interface PublisherHooks {
  readonly onBug: (error: unknown) => void;
  /** Called when a target has new content. */
  readonly onPublished: () => void;
  /** Called when an incomplete drop was returned to the inbox. */
  readonly onReturned: (drop: ClaimedDrop) => void;
  /** Called when a drop has its receipt; its remains can be deleted. */
  readonly onFinished: () => void;
}

/** Limits for each target. */
const BATCHES = {
  /** Batches at once. More would only hold more locks. */
  parallel: 8,
  /** Drops published in one snapshot. */
  batch: 500,
} as const;
/** Drops read at once. Each may hash on all threads. */
const STAGING_PARALLEL = 8;

interface Item {
  readonly record: DropRecord;
  readonly part: Part;
}

export class Publisher {
  readonly #context: PublisherContext;
  readonly #hooks: PublisherHooks;
  readonly #staging = new PQueue({ concurrency: STAGING_PARALLEL });
  readonly #order = new InOrder<DropRecord>((record) => this.#enqueueAll(record));
  readonly #queues = new Map<string, BatchQueue<Item>>();
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #stopping = new AbortController();
  /** Work that runs outside the queues. */
  readonly #running = new Set<Promise<void>>();

  constructor(context: PublisherContext, hooks: PublisherHooks) {
    this.#context = context;
    this.#hooks = hooks;
  }

  /** Publishes the drop. It will get a receipt or be returned to the inbox. */
  add(claimed: ClaimedDrop): void {
    const { claim, name: drop, policy, held } = claimed;
    const { path, progress } = claimed.drop;
    if (progress) {
      this.#context.emit({ type: 'drop.queued', drop, key: claimKey(claim), path, progress });
    }
    const releases = held ? [held.release] : [];
    const record: DropRecord = {
      claimed,
      parts: [],
      refused: [],
      releases,
      attempts: 0,
      startedMs: undefined,
    };
    if (this.#isStopping) return;
    if (policy) this.#order.announce(policy.id, record);
    this.#stageSoon(record);
  }

  /** Returns whether more than the batch that is about to end is running or waiting. */
  get isBusy(): boolean {
    const queues = [...this.#queues.values()];
    const running = queues.reduce((sum, each) => sum + each.running, this.#staging.pending);
    return running > 1 || this.#staging.size > 0 || queues.some(({ waiting }) => waiting > 0);
  }

  /** Waits for running publishes. Waiting drops stay claimed for the next start. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    for (const timer of this.#timers) clearTimeout(timer);
    this.#staging.pause();
    await Promise.all([
      this.#staging.onPendingZero(),
      ...[...this.#queues.values()].map((queue) => queue.stop()),
      ...this.#running,
    ]);
  }

  get #isStopping(): boolean {
    return this.#stopping.signal.aborted;
  }

  // Staging: once per drop, without a lock.

  #stageSoon(record: DropRecord): void {
    // Content stored at the claim is used as it is, unless an attempt failed since.
    const held = record.attempts === 0 ? record.claimed.held : undefined;
    // Tracked only once it runs: staging that waits in the queue never runs when the daemon stops.
    const stage = () => this.#track(this.#stage(record, held?.stored));
    const done = held ? stage() : this.#staging.add(stage);
    done.catch(this.#hooks.onBug);
  }

  async #stage(record: DropRecord, stored?: StoredDrop): Promise<void> {
    if (stored === undefined) this.#start(record);
    try {
      await this.#staged(record, stored ?? (await this.#read(record)));
    } catch (error) {
      this.#withdraw(record);
      await this.#unread(record, error as Error);
    }
  }

  /** Reads the drop and stores its content, which stays in the store until the drop is finished. */
  async #read(record: DropRecord): Promise<StoredDrop> {
    const { roots, run, transactions, lookAgain } = this.#context;
    const { drop, policy } = record.claimed;
    const transaction = transactions.next();
    record.releases.push(() =>
      endTransaction(run, { roots, transaction }).catch(() => {
        // It is retried.
      }),
    );
    await run(begin, { roots, transaction });
    if (policy) await lookAgain(policy);
    const elsewhere = policy && elsewhereOf(policy);
    return stageDrop(this.#context, { id: policy?.id, transaction, drop, elsewhere });
  }

  async #staged(record: DropRecord, stored: StoredDrop): Promise<void> {
    const { policyOf } = this.#context;
    const { policy } = record.claimed;
    const { parts, refused } = partsOf(toSplit(record.claimed), stored);
    record.refused = refused;
    record.parts = parts.map(({ repository, staged }) =>
      newPart(policy ?? policyOf(repository), staged),
    );
    if (policy) return this.#order.ready(policy.id, record);
    // When one repository refuses its part of a bundle, nothing of the bundle is published.
    for (const part of record.parts) await this.#check(part);
    this.#enqueueAll(record);
  }

  /** @throws the error for which the first target would refuse the part */
  async #check({ policy, staged }: Part): Promise<void> {
    for (const name of policy.targets) {
      await this.#context.target(name).check(policy, staged);
    }
  }

  /** Handles the error of a drop that could not be read completely. */
  async #unread(record: DropRecord, error: Error): Promise<void> {
    const fault = faultOf(error);
    const { drop } = record.claimed;
    if (fault === 'bug') this.#hooks.onBug(error);
    else if (fault !== 'content') this.#stageLater(record, error);
    else if (isUnfinished(drop, error)) await this.#return(record);
    else await this.#reject(record, error);
  }

  #stageLater(record: DropRecord, error: Error): void {
    this.#release(record);
    record.startedMs = undefined;
    this.#retryLater(record, undefined, error, ++record.attempts, () => {
      const { policy } = record.claimed;
      if (policy) this.#order.announce(policy.id, record);
      this.#stageSoon(record);
    });
  }

  /** A compressed archive shows only when it is read that it is incomplete. */
  async #return(record: DropRecord): Promise<void> {
    const { inbox, ownInbox: own, run, liveClaims } = this.#context;
    const { claimed } = record;
    const { claim } = claimed;
    try {
      await run(returnClaim, { inbox, own, claim });
    } catch (error) {
      if (faultOf(error) === 'bug') return this.#hooks.onBug(error);
      return this.#stageLater(record, error as Error);
    }
    liveClaims.delete(claimKey(claim));
    this.#release(record, () => this.#hooks.onReturned(claimed));
  }

  #withdraw(record: DropRecord): void {
    const { policy } = record.claimed;
    if (policy) this.#order.withdraw(policy.id, record);
  }

  /** Lets the sweep delete the drop's content again. */
  #release({ releases }: DropRecord, then = () => {}): void {
    Promise.all(releases.splice(0).map((release) => release()))
      .then(then)
      .catch(this.#hooks.onBug);
  }

  // Publishing: one batch at a time for each target and repository.

  #enqueueAll(record: DropRecord): void {
    for (const part of record.parts) {
      for (const target of part.policy.targets) this.#enqueue(target, { record, part });
    }
  }

  #enqueue(target: string, item: Item): void {
    if (this.#isStopping) return;
    const publish = (items: Item[]) => this.#publishBatch(target, items);
    const queue = this.#queues.get(target) ?? new BatchQueue(BATCHES, publish, this.#hooks.onBug);
    this.#queues.set(target, queue);
    queue.add(item.part.policy.id, item);
  }

  async #publishBatch(name: string, items: readonly Item[]): Promise<void> {
    const [first] = items;
    if (first === undefined) return;
    for (const { record } of items) this.#start(record);
    const { policy } = first.part;
    const drops = items.map(({ part }) => part.staged);
    let result: PublishResult;
    try {
      const target = this.#context.target(name);
      result = await target.publish(policy, { kind: 'publish', drops }, this.#waiting(items));
    } catch (error) {
      return this.#refuseBatch(name, items, error as Error);
    }
    await this.#settle(name, items, result.outcomes);
    this.#report(name, policy, result);
  }

  /** Nothing of the batch was published. */
  async #refuseBatch(name: string, items: readonly Item[], error: Error): Promise<void> {
    const fault = faultOf(error);
    if (fault === 'bug') return this.#hooks.onBug(error);
    // The drops are refused only in combination. Published one by one, the good ones succeed.
    if (fault === 'content' && items.length > 1) {
      for (const item of items) await this.#publishBatch(name, [item]);
      return;
    }
    const status = fault === 'content' ? 'rejected' : 'retry';
    await this.#settle(
      name,
      items,
      items.map(() => ({ status, error })),
    );
  }

  /** A daemon waits for other publishers until it stops. */
  #waiting(items: readonly Item[]) {
    const { emit } = this.#context;
    const onBusy = () => {
      for (const { record, part } of items) {
        const { repository } = part.policy;
        emit({ type: 'publish.waiting', drop: record.claimed.name, repository });
      }
    };
    return { waitMs: Number.POSITIVE_INFINITY, signal: this.#stopping.signal, onBusy };
  }

  async #settle(
    target: string,
    items: readonly Item[],
    outcomes: readonly DropOutcome[],
  ): Promise<void> {
    const complete = new Set<DropRecord>();
    for (const [at, item] of items.entries()) {
      const outcome = outcomes[at];
      const { record, part } = item;
      if (outcome === undefined) throw new Error(`no outcome for ${record.claimed.name}`);
      if (outcome.status === 'retry') this.#publishLater(target, item, outcome.error);
      else {
        part.delivered.set(target, { outcome, retries: part.attempts.get(target) ?? 0 });
        this.#tellTarget(target, item, outcome);
        if (record.parts.every(isDelivered)) complete.add(record);
      }
    }
    await this.#finish([...complete]);
    if (outcomes.some(({ status }) => status === 'published')) this.#hooks.onPublished();
  }

  #tellTarget(
    target: string,
    { record, part }: Item,
    outcome: Exclude<DropOutcome, { readonly status: 'retry' }>,
  ): void {
    const { policy } = part;
    if (isLocalOnly(policy)) return;
    const { repository } = policy;
    const about = { drop: record.claimed.name, repository, target };
    const tookMs = this.#tookMs(record);
    this.#context.emit({ type: 'publish.target', ...about, outcome, tookMs });
  }

  #publishLater(target: string, item: Item, error: Error): void {
    const { record, part } = item;
    const attempt = (part.attempts.get(target) ?? 0) + 1;
    part.attempts.set(target, attempt);
    const isGone = error instanceof DropdockError && error.code === 'content.vanished';
    const shown = isLocalOnly(part.policy) ? undefined : target;
    this.#retryLater(record, shown, error, attempt, () => {
      if (part.policy.targets.length === 1) record.startedMs = undefined;
      if (isGone) this.#track(this.#stageAgain(target, item)).catch(this.#hooks.onBug);
      else this.#enqueue(target, item);
    });
  }

  /** Stored content of the drop, or content that it left out, is gone. Reads it again for this target. */
  async #stageAgain(target: string, item: Item): Promise<void> {
    const { record, part } = item;
    try {
      const { parts } = partsOf(toSplit(record.claimed), await this.#read(record));
      const again = parts.find(({ repository }) => repository === part.policy.repository);
      if (again) part.staged = again.staged;
      this.#enqueue(target, item);
    } catch (error) {
      const fault = faultOf(error);
      if (fault === 'bug') throw error;
      const status = fault === 'content' ? 'rejected' : 'retry';
      await this.#settle(target, [item], [{ status, error: error as Error }]);
    }
  }

  #report(name: string, policy: ResolvedRepository, result: PublishResult): void {
    const { emit } = this.#context;
    const { repository } = policy;
    const target = isLocalOnly(policy) ? undefined : name;
    for (const what of result.repaired) {
      emit({ type: 'repository.recovered', repository, target, what });
    }
    for (const error of result.later) emit({ type: 'publish.later', repository, target, error });
    const snapshots = result.removed.length;
    if (snapshots > 0) emit({ type: 'repository.cleaned', repository, target, snapshots });
  }

  // Receipts: when every target has accepted or refused the drop.

  /** Receipts of published drops are written together, those of refused drops one by one. */
  async #finish(records: readonly DropRecord[]): Promise<void> {
    const published: Finished[] = [];
    const rejected: Finished[] = [];
    for (const record of records) {
      const { status, receipt } = overallOf(record, this.#frameOf(record));
      const finished = { record, receipt: formatReceipt(receipt) };
      if (status === 'rejected') rejected.push(finished);
      else published.push(finished);
    }
    await Promise.all([
      this.#finishPublished(published),
      ...rejected.map((each) => this.#finishRejected(each)),
    ]);
  }

  async #finishPublished(all: readonly Finished[]): Promise<void> {
    if (all.length === 0) return;
    const { ownInbox: inbox, run, emit } = this.#context;
    const drops = all.map(({ record, receipt }) => ({ claim: record.claimed.claim, receipt }));
    try {
      const failures = await timed(emit, 'receipt', () =>
        run(finishPublishedBatch, { inbox, drops }),
      );
      for (const [at, { record }] of all.entries()) {
        const failure = failures[at];
        if (failure) this.#finishLater(record, fromPlainError(failure));
        else this.#finished(record);
      }
    } catch (error) {
      for (const { record } of all) this.#finishLater(record, error as Error);
    }
  }

  async #finishRejected({ record, receipt }: Finished): Promise<void> {
    const { claim } = record.claimed;
    try {
      await this.#moveToRejected(claim, receipt);
      this.#finished(record);
    } catch (error) {
      this.#finishLater(record, error as Error);
    }
  }

  /** @throws claim.lost, system errors; the drop stays claimed */
  async #moveToRejected(claim: ClaimedDrop['claim'], receipt: string): Promise<void> {
    const { ownInbox: inbox, run, emit, beforeRejection } = this.#context;
    await beforeRejection(receipt);
    await timed(emit, 'receipt', () => run(finishRejected, { inbox, claim, receipt }));
  }

  #finishLater(record: DropRecord, error: Error): void {
    if (faultOf(error) === 'bug') {
      this.#hooks.onBug(error);
      return;
    }
    this.#retryLater(record, undefined, error, ++record.attempts, () => {
      this.#track(this.#finish([record])).catch(this.#hooks.onBug);
    });
  }

  #finished(record: DropRecord): void {
    const { name: drop } = record.claimed;
    const { by } = record.claimed.drop;
    this.#end(record);
    const tookMs = this.#tookMs(record);
    const { emit } = this.#context;
    for (const part of record.parts) {
      const { repository } = part.policy;
      const outcome = overallOutcome(part);
      if (outcome.status === 'rejected') {
        const { claim, policy, drop: given } = record.claimed;
        const kept = policy && rejectedPath(claim, given.kind);
        const { error } = outcome;
        emit({ type: 'drop.rejected', drop, by, repository, error, kept });
      } else {
        emit({ type: 'publish.done', drop, by, repository, outcome, tookMs });
        for (const message of outcome.content.mistakes ?? []) {
          emit({ type: 'publish.warning', drop, repository, message });
        }
      }
    }
    this.#tellLeftOut(record);
    for (const { error } of record.refused) {
      emit({ type: 'drop.rejected', drop, by, repository: undefined, error });
    }
  }

  /** Its claim no longer belongs to this process. */
  #end(record: DropRecord): void {
    this.#context.liveClaims.delete(claimKey(record.claimed.claim));
    this.#release(record, this.#hooks.onFinished);
  }

  /** Reported once per layer, however many repositories it went to. */
  #tellLeftOut({ claimed, parts }: DropRecord): void {
    const { emit } = this.#context;
    const repository = claimed.policy?.repository;
    const published = parts
      .map(overallOutcome)
      .filter((each): each is PublishedOutcome => each.status !== 'rejected');
    const said = new Set<string>();
    for (const what of published.flatMap(heldBack)) {
      const key = `${what.what} ${what.why}`;
      if (said.has(key)) continue;
      said.add(key);
      emit({ type: 'publish.left-out', drop: claimed.name, repository, what });
    }
  }

  /** The drop was refused before any target was asked. */
  async #reject(record: DropRecord, error: Error): Promise<void> {
    const { claim, name: drop, policy } = record.claimed;
    const receipt = formatReceipt(rejectedReceipt(error, this.#frameOf(record)));
    try {
      await this.#moveToRejected(claim, receipt);
    } catch (failure) {
      if (faultOf(failure) === 'bug') return this.#hooks.onBug(failure);
      return this.#stageLater(record, failure as Error);
    }
    this.#end(record);
    const repository = policy?.repository;
    const { by, kind } = record.claimed.drop;
    const kept = rejectedPath(claim, kind);
    this.#context.emit({ type: 'drop.rejected', drop, by, repository, error, kept });
  }

  /**
   * Rejects a drop with an unreadable name, which belongs to no repository.
   * @throws system errors
   */
  async refuse(
    claim: ClaimedDrop['claim'],
    { name, by }: { readonly name: string; readonly by: string | undefined },
    error: DropdockError,
  ): Promise<void> {
    const { liveClaims, nowMs, emit } = this.#context;
    const none = { repository: null, id: null, tookMs: 0 };
    const times = { claimedAt: claim.at, finishedAt: toTimestamp(nowMs()) };
    const kept = rejectedPath(claim);
    const frame = { drop: name, by, claim: claim.name, ...none, ...times, kept };
    await this.#moveToRejected(claim, formatReceipt(rejectedReceipt(error, frame)));
    liveClaims.delete(claimKey(claim));
    emit({ type: 'drop.rejected', drop: name, by, repository: undefined, error, kept });
  }

  // Shared helpers.

  /** Errors of tracked work are bugs. `stop` waits for the work. */
  #track(work: Promise<void>): Promise<void> {
    const running = work.catch(this.#hooks.onBug).finally(() => this.#running.delete(running));
    this.#running.add(running);
    return running;
  }

  #start(record: DropRecord): void {
    if (record.startedMs !== undefined) return;
    const { monotonicMs, emit } = this.#context;
    record.startedMs = monotonicMs();
    const { name: drop, policy } = record.claimed;
    emit({ type: 'publish.started', drop, repository: policy?.repository });
  }

  #tookMs({ startedMs }: DropRecord): number {
    const nowMs = this.#context.monotonicMs();
    return nowMs - (startedMs ?? nowMs);
  }

  #frameOf({ claimed }: DropRecord): ReceiptFrame {
    const { nowMs, monotonicMs } = this.#context;
    const { claim, name, policy, claimedMs } = claimed;
    const kept = rejectedPath(claim, claimed.drop.kind);
    return {
      drop: name,
      by: claimed.drop.by,
      repository: policy?.repository ?? null,
      id: policy?.id ?? null,
      claim: claim.name,
      left: claim.left,
      claimedAt: claim.at,
      finishedAt: toTimestamp(nowMs()),
      tookMs: Math.round(monotonicMs() - claimedMs),
      kept,
    };
  }

  /** The drop stays claimed and is retried with growing delays. */
  #retryLater(
    record: DropRecord,
    target: string | undefined,
    error: Error,
    attempt: number,
    again: () => void,
  ): void {
    if (this.#isStopping) return;
    const { emit, retry } = this.#context;
    const { name: drop, policy } = record.claimed;
    if (error instanceof DropdockError && error.code === 'claim.lost') {
      this.#end(record);
      emit({ type: 'drop.lost', drop, error });
      return;
    }
    const { first, most } = retry();
    const nextMs = Math.min(first * 2 ** (attempt - 1), most);
    const repository = policy?.repository;
    emit({ type: 'publish.retry', drop, repository, target, error, attempt, nextMs });
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      again();
    }, nextMs);
    this.#timers.add(timer);
  }
}

interface Finished {
  readonly record: DropRecord;
  readonly receipt: string;
}

function toSplit({ drop, policy, namespace }: ClaimedDrop): Parameters<typeof partsOf>[0] {
  return { ...drop, repository: policy?.repository, namespace };
}

/** Returns true when the only error is that an archive ends too early and its timeout has not passed. */
export function isUnfinished(drop: ClaimedDrop['drop'], error: unknown): boolean {
  const isTruncated = error instanceof DropdockError && error.code === 'archive.truncated';
  return isTruncated && !drop.tolerateAbsent;
}
