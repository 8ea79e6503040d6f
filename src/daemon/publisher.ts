/** From claimed drops to receipts: whose turn it is, what is tried again, what is said about it. */
import { DropdockError, faultOf } from '../errors.js';
import { type Claim, claimKey } from '../inbox/paths.js';
import type { DropToPublish } from '../publish/drop.js';
import { type PublishResult, publishRepository } from '../publish/publish.js';
import type { PublishContext } from '../publish/turn.js';
import { errorFields } from '../report.js';
import type { ResolvedRepository } from '../settings/repository-policy.js';
import { Work } from '../work.js';
import { Ahead } from './ahead.js';
import { bundleTurn } from './bundle-turn.js';
import { Delivery } from './delivery.js';
import { letGoAll, letGoRefused } from './let-go.js';
import { eventOf, isUnfinished, publishFields, sayBusy, sayLeftOut } from './outcome.js';
import { finishParcel, isHereOnly, TURNS } from './parcel.js';
import { lockOptions, type Services } from './services.js';
import { Tidying } from './tidying.js';

/** A claim on its way. */
export interface ClaimedDrop {
  readonly claim: Claim;
  /** The drop's path as it lay in the inbox. */
  readonly name: string;
  /** Undefined for a bundle, whose repositories are named inside it. */
  readonly policy: ResolvedRepository | undefined;
  /** Where a bundle lies. */
  readonly namespace: string;
  readonly drop: DropToPublish;
  /** Its first turn is over: what was stored of it early is kept no longer. */
  readonly release?: (() => void) | undefined;
  /** On the monotonic clock. */
  readonly claimedMs: number;
  readonly attempts: number;
  /** What it looked like when it was taken, and since when; for a drop that is given back. */
  readonly look: { readonly signature: string; readonly sinceMs: number } | undefined;
}

export interface PublisherHooks {
  readonly onBug: (error: unknown) => void;
  readonly onPublished: () => void;
  /** What a turn of a repository waits for before it begins. */
  readonly gather: (id: string) => Promise<void> | undefined;
  /** A drop lies in the inbox again; it is not whole. */
  readonly onReturned: (drop: ClaimedDrop) => void;
}

export class Publisher {
  readonly #services: Services;
  readonly #work: Work<ClaimedDrop>;
  readonly #retries = new Set<NodeJS.Timeout>();
  readonly #stopping = new AbortController();
  readonly #tidying: Tidying;
  readonly #hooks: PublisherHooks;
  readonly #delivery: Delivery;
  readonly #ahead: Ahead;

  constructor(services: Services, hooks: PublisherHooks) {
    this.#services = services;
    this.#hooks = hooks;
    this.#ahead = new Ahead(services);
    const take = (_id: string, drops: readonly ClaimedDrop[]) => this.#turn(drops);
    const work = new Work<ClaimedDrop>(TURNS, take, hooks.onBug, hooks.gather);
    this.#work = work;
    // The turn that ends is one of those that run.
    this.#tidying = new Tidying(services, () => work.running > 1 || work.waiting > 0);
    this.#delivery = new Delivery(services, () => this.#context(), {
      ...hooks,
      onUnread: (claimed, error) => this.#unread(claimed, error),
      onComplete: async (parcel) => {
        await finishParcel(services, parcel);
        this.#tidying.want();
      },
    });
  }

  add(drop: ClaimedDrop): void {
    const turn = drop.policy?.id ?? `@ ${claimKey(drop.claim)}`;
    if (!this.#stopping.signal.aborted) this.#work.add(turn, drop);
  }

  /** Running turns end; what waits stays claimed for the next start. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#ahead.stop();
    for (const timer of this.#retries) clearTimeout(timer);
    await Promise.all([this.#work.stop(), this.#delivery.stop()]);
    await this.#tidying.stop();
  }

  async #turn(drops: readonly ClaimedDrop[]): Promise<void> {
    try {
      await this.#turnOf(drops);
    } finally {
      for (const { release } of drops) release?.();
    }
  }

  async #turnOf(drops: readonly ClaimedDrop[]): Promise<void> {
    const [first] = drops;
    if (first === undefined) return;
    const { log, monotonicMs } = this.#services;
    const { policy } = first;
    const startedMs = monotonicMs();
    if (policy === undefined) return this.#bundleTurn(first, startedMs);
    const { repository } = policy;
    for (const { name } of drops) log('info', 'publish.started', { repo: repository, drop: name });
    if (!isHereOnly(policy)) return this.#delivery.take(policy, drops);
    const byDrop = new Map(drops.map((each) => [each.drop, each]));
    try {
      const result = await this.#publish(policy, byDrop);
      this.#ahead.published(policy.id, result.files);
      this.#report(result, byDrop, startedMs);
    } catch (error) {
      const fault = faultOf(error);
      if (fault === 'bug') this.#hooks.onBug(error);
      // Content that is refused only when everything is put together: the others go on without it.
      else if (fault === 'content' && drops.length > 1) {
        for (const each of drops) await this.#turn([each]);
      } else if (fault === 'content') await this.#refuse(first, error as Error);
      else for (const each of drops) this.#retry(each, error as Error);
    }
  }

  async #bundleTurn(bundle: ClaimedDrop, startedMs: number): Promise<void> {
    this.#services.log('info', 'publish.started', { drop: bundle.name });
    try {
      const result = await bundleTurn(this.#services, this.#context([bundle]), bundle, startedMs);
      if (result === 'unfinished') await this.#giveBack(bundle);
      if (result === 'published') this.#hooks.onPublished();
      this.#tidying.want();
    } catch (error) {
      if (faultOf(error) === 'bug') this.#hooks.onBug(error);
      else this.#retry(bundle, error as Error);
    }
  }

  #context(drops: Iterable<ClaimedDrop> = []): PublishContext {
    const { roots, owner, uid, run, nowMs, clock, onLockWaited: onWaited } = this.#services;
    const { signal } = this.#stopping;
    // A daemon has time: it waits for other publishers until it is told to stop.
    const waitMs = Number.POSITIVE_INFINITY;
    const onBusy = () => sayBusy(this.#services, drops);
    const lock = { ...lockOptions(this.#services), waitMs, signal, onWaited, onBusy };
    return { roots, owner: owner.token, uid, run, nowMs, clock, lock };
  }

  #publish(
    policy: ResolvedRepository,
    byDrop: ReadonlyMap<DropToPublish, ClaimedDrop>,
  ): Promise<PublishResult> {
    const context = this.#context(byDrop.values());
    return publishClaimed(this.#services, context, policy, byDrop, (claimed) =>
      this.#giveBack(claimed),
    );
  }

  async #refuse(claimed: ClaimedDrop, error: Error): Promise<void> {
    try {
      await letGoRefused(this.#services, claimed, error);
      const { name: drop, policy } = claimed;
      const repo = policy?.repository;
      this.#services.log('warn', 'drop.rejected', { repo, drop, ...errorFields(error) });
    } catch (failure) {
      if (faultOf(failure) === 'bug') this.#hooks.onBug(failure);
      else this.#retry(claimed, failure as Error);
    }
  }

  /** What came of reading a drop that was not read to its end. */
  async #unread(claimed: ClaimedDrop, error: Error): Promise<void> {
    const fault = faultOf(error);
    if (fault === 'bug') this.#hooks.onBug(error);
    else if (fault !== 'content') this.#retry(claimed, error);
    else if (isUnfinished(claimed.drop, error)) await this.#tryGiveBack(claimed);
    else await this.#refuse(claimed, error);
  }

  /** Where that fails it stays claimed: it is read again later, and given back then. */
  async #tryGiveBack(claimed: ClaimedDrop): Promise<void> {
    try {
      await this.#giveBack(claimed);
    } catch (failure) {
      if (faultOf(failure) === 'bug') this.#hooks.onBug(failure);
      else this.#retry(claimed, failure as Error);
    }
  }

  /** A compressed archive tells only when it is read that its end has not come yet. */
  async #giveBack(claimed: ClaimedDrop): Promise<void> {
    const { inbox, run } = this.#services;
    await run('returnClaim', { inbox, claim: claimed.claim });
    this.#services.liveClaims.delete(claimKey(claimed.claim));
    this.#hooks.onReturned(claimed);
  }

  #report(
    { outcomes, mended, later, removed }: PublishResult,
    byDrop: ReadonlyMap<DropToPublish, ClaimedDrop>,
    startedMs: number,
  ): void {
    const { log, monotonicMs } = this.#services;
    const took = `${((monotonicMs() - startedMs) / 1000).toFixed(3)}s`;
    let repo: string | undefined;
    for (const outcome of outcomes) {
      const claimed = byDrop.get(outcome.drop);
      if (claimed === undefined) continue;
      repo = claimed.policy?.repository;
      const fields = { repo, drop: claimed.name };
      if (outcome.status === 'retry') this.#retry(claimed, outcome.error);
      else if (outcome.status === 'rejected') {
        if (isUnfinished(outcome.drop, outcome.error)) continue;
        log('warn', 'drop.rejected', { ...fields, ...errorFields(outcome.error) });
      } else {
        log('info', eventOf(outcome), { ...fields, ...publishFields(outcome), took });
        sayLeftOut(this.#services, fields, [outcome]);
      }
    }
    for (const what of mended) log('info', 'daemon.recovered', { repo, what });
    for (const error of later) log('warn', 'publish.later', { repo, ...errorFields(error) });
    if (removed.length > 0) log('info', 'clean.done', { repo, snapshots: removed.length });
    this.#tidying.want();
    if (outcomes.some(({ status }) => status === 'published')) this.#hooks.onPublished();
  }

  /** Nothing is lost: the drop stays claimed and is tried again, later and later. */
  #retry(claimed: ClaimedDrop, error: Error): void {
    if (this.#stopping.signal.aborted) return;
    if (error instanceof DropdockError && error.code === 'claim.lost') {
      this.#services.liveClaims.delete(claimKey(claimed.claim));
      this.#warn(error);
      return;
    }
    const { first, most } = this.#services.settings.retry;
    const delayMs = Math.min(first * 2 ** claimed.attempts, most);
    const { name, policy } = claimed;
    this.#services.log('warn', 'publish.retry', {
      repo: policy?.repository,
      drop: name,
      ...errorFields(error),
      attempt: claimed.attempts + 1,
      next: `${(delayMs / 1000).toFixed(1)}s`,
    });
    const timer = setTimeout(() => {
      this.#retries.delete(timer);
      // What was stored early may have been swept by then.
      const drop = { ...claimed.drop, early: undefined };
      this.add({ ...claimed, drop, attempts: claimed.attempts + 1 });
    }, delayMs);
    this.#retries.add(timer);
  }

  #warn(error: unknown): void {
    if (this.#stopping.signal.aborted) return;
    this.#services.log('warn', 'daemon.warning', errorFields(error as Error));
  }
}

/**
 * All steps after the claim, for drops of one repository that only the directory has.
 * @param giveBack for what turned out to be still on its way
 */
export function publishClaimed(
  services: Services,
  context: PublishContext,
  policy: ResolvedRepository,
  byDrop: ReadonlyMap<DropToPublish, ClaimedDrop>,
  giveBack: (claimed: ClaimedDrop) => Promise<void>,
): Promise<PublishResult> {
  return publishRepository(context, policy, [...byDrop.keys()], (outcomes) =>
    letGoAll(services, outcomes, byDrop, giveBack),
  );
}
