/**
 * Drops of repositories that have other targets than the directory. Each is read and stored once;
 * then every target has its own queue, its own retries and its own lag, and none waits for another.
 * When all have it (or refuse it), the drop gets its receipt.
 */
import { DropdockError, faultOf } from '../errors.js';
import type { DropOutcome } from '../publish/drop.js';
import { publishRepository } from '../publish/publish.js';
import { endTransaction, newTransaction, type PublishContext } from '../publish/turn.js';
import { errorFields } from '../report.js';
import type { ResolvedRepository } from '../settings/repository-policy.js';
import { LOCAL_TARGET } from '../settings/targets.js';
import { Work } from '../work.js';
import { publishToStore, stageDrop } from './everywhere.js';
import { isComplete, type Parcel, TURNS } from './parcel.js';
import type { ClaimedDrop } from './publisher.js';
import type { Services } from './services.js';

export interface DeliveryHooks {
  readonly onBug: (error: unknown) => void;
  /** A target shows something new. */
  readonly onPublished: () => void;
  /** It could not be read; nothing was published anywhere by this try. */
  readonly onUnread: (claimed: ClaimedDrop, error: Error) => Promise<void>;
  /** Every target has it or refuses it. @throws when there is no receipt: it is asked again */
  readonly onComplete: (parcel: Parcel) => Promise<void>;
}

export class Delivery {
  readonly #services: Services;
  readonly #hooks: DeliveryHooks;
  readonly #context: () => PublishContext;
  readonly #lanes = new Map<string, Work<Parcel>>();
  readonly #timers = new Set<NodeJS.Timeout>();
  #isStopping = false;

  constructor(services: Services, context: () => PublishContext, hooks: DeliveryHooks) {
    this.#services = services;
    this.#context = context;
    this.#hooks = hooks;
  }

  /** Reads and stores the drops, and hands them to the targets' queues. */
  async take(policy: ResolvedRepository, drops: readonly ClaimedDrop[]): Promise<void> {
    await Promise.all(drops.map((claimed) => this.#takeOne(policy, claimed)));
  }

  /** Running turns end; what waits stays claimed for the next start. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    for (const timer of this.#timers) clearTimeout(timer);
    await Promise.all([...this.#lanes.values()].map((lane) => lane.stop()));
  }

  async #takeOne(policy: ResolvedRepository, claimed: ClaimedDrop): Promise<void> {
    const { roots, run, monotonicMs } = this.#services;
    const transaction = newTransaction(this.#context());
    try {
      await run('begin', { roots, transaction });
      const staged = await this.#stage(policy, claimed, transaction);
      const startedMs = monotonicMs();
      const progress = { attempts: new Map(), delivered: new Map() };
      const parcel = { claimed, policy, staged, transaction, startedMs, ...progress };
      for (const target of policy.targets) this.#enqueue(target, parcel);
    } catch (error) {
      await this.#end(transaction);
      await this.#hooks.onUnread(claimed, error as Error);
    }
  }

  #stage(
    policy: ResolvedRepository,
    { drop }: ClaimedDrop,
    transaction: string,
  ): Promise<Parcel['staged']> {
    return stageDrop(this.#services, this.#context(), policy, drop, transaction);
  }

  #enqueue(target: string, parcel: Parcel): void {
    if (this.#isStopping) return;
    const lane =
      this.#lanes.get(target) ??
      new Work<Parcel>(TURNS, (_id, parcels) => this.#turn(target, parcels), this.#hooks.onBug);
    this.#lanes.set(target, lane);
    lane.add(parcel.policy.id, parcel);
  }

  async #turn(target: string, parcels: readonly Parcel[]): Promise<void> {
    const [first] = parcels;
    if (first === undefined) return;
    try {
      const outcomes =
        target === LOCAL_TARGET
          ? await this.#publishHere(first.policy, parcels)
          : await this.#publishThere(target, first, parcels);
      for (const [at, outcome] of outcomes.entries()) {
        const parcel = parcels[at];
        if (parcel) await this.#settle(target, parcel, outcome);
      }
    } catch (error) {
      const fault = faultOf(error);
      if (fault === 'bug') this.#hooks.onBug(error);
      // Refused only when everything is put together: the others go on without it.
      else if (fault === 'content' && parcels.length > 1) {
        for (const each of parcels) await this.#turn(target, [each]);
      } else {
        const status = fault === 'content' ? 'rejected' : 'retry';
        for (const parcel of parcels) {
          const { drop } = parcel.claimed;
          await this.#settle(target, parcel, { status, drop, error: error as Error });
        }
      }
    }
  }

  async #publishHere(
    policy: ResolvedRepository,
    parcels: readonly Parcel[],
  ): Promise<DropOutcome[]> {
    const drops = parcels.map(({ claimed, staged }) => ({
      ...claimed.drop,
      staged: staged.content,
    }));
    const result = await publishRepository(this.#context(), policy, drops);
    this.#report(LOCAL_TARGET, policy, result);
    return drops.map((drop, at) => {
      const outcome = result.outcomes.find((each) => each.drop === drop);
      if (outcome === undefined) throw new Error(`no outcome for ${drop.name}`);
      const ingested = parcels[at]?.staged.ingested;
      return 'ingested' in outcome && ingested ? { ...outcome, ingested } : outcome;
    });
  }

  async #publishThere(
    target: string,
    first: Parcel,
    parcels: readonly Parcel[],
  ): Promise<DropOutcome[]> {
    const drops = parcels.map(({ claimed: { drop }, staged }) => ({ drop, staged }));
    const { outcomes, later } = await publishToStore(this.#services, target, first, drops);
    this.#report(target, first.policy, { mended: [], removed: [], later });
    return outcomes;
  }

  async #settle(target: string, parcel: Parcel, outcome: DropOutcome): Promise<void> {
    const { claimed, policy, attempts, delivered, startedMs } = parcel;
    if (outcome.status === 'retry') return this.#later(target, parcel, outcome.error);
    delivered.set(target, { outcome, retries: attempts.get(target) ?? 0 });
    const { log, monotonicMs } = this.#services;
    const fields = { repo: policy.repository, drop: claimed.name, target };
    const took = `${((monotonicMs() - startedMs) / 1000).toFixed(3)}s`;
    if (outcome.status === 'rejected') {
      log('warn', 'publish.target', {
        ...fields,
        status: 'rejected',
        ...errorFields(outcome.error),
      });
    } else {
      const { status, snapshot } = outcome;
      log('info', 'publish.target', { ...fields, status, snapshot, took });
      if (status === 'published') this.#hooks.onPublished();
    }
    if (isComplete(parcel)) await this.#complete(parcel);
  }

  async #complete(parcel: Parcel): Promise<void> {
    try {
      await this.#hooks.onComplete(parcel);
    } catch (error) {
      if (faultOf(error) === 'bug') return this.#hooks.onBug(error);
      return this.#wait(parcel, 'the receipt', error as Error, () => this.#complete(parcel));
    }
    await this.#end(parcel.transaction);
  }

  async #end(transaction: string): Promise<void> {
    await endTransaction(this.#services, transaction).catch(() => {
      // It is tried again.
    });
  }

  async #later(target: string, parcel: Parcel, error: Error): Promise<void> {
    await this.#wait(parcel, target, error, async () => {
      if (!(error instanceof DropdockError && error.code === 'content.vanished')) {
        return this.#enqueue(target, parcel);
      }
      try {
        parcel.staged = await this.#stage(parcel.policy, parcel.claimed, parcel.transaction);
        this.#enqueue(target, parcel);
      } catch (failure) {
        if (faultOf(failure) === 'bug') return this.#hooks.onBug(failure);
        const { drop } = parcel.claimed;
        const status = faultOf(failure) === 'content' ? 'rejected' : 'retry';
        await this.#settle(target, parcel, { status, drop, error: failure as Error });
      }
    });
  }

  /** Nothing is lost: the drop stays claimed and is tried again, later and later. */
  async #wait(parcel: Parcel, target: string, error: Error, again: () => Promise<void>) {
    if (this.#isStopping) return;
    const { claimed, policy, attempts } = parcel;
    const attempt = (attempts.get(target) ?? 0) + 1;
    attempts.set(target, attempt);
    const { first, most } = this.#services.settings.retry;
    const delayMs = Math.min(first * 2 ** (attempt - 1), most);
    this.#services.log('warn', 'publish.retry', {
      repo: policy.repository,
      drop: claimed.name,
      target,
      ...errorFields(error),
      attempt,
      next: `${(delayMs / 1000).toFixed(1)}s`,
    });
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      again().catch(this.#hooks.onBug);
    }, delayMs);
    this.#timers.add(timer);
  }

  #report(
    target: string,
    { repository: repo }: ResolvedRepository,
    done: Pick<Awaited<ReturnType<typeof publishRepository>>, 'mended' | 'later' | 'removed'>,
  ): void {
    const { log } = this.#services;
    for (const what of done.mended) log('info', 'daemon.recovered', { repo, target, what });
    for (const error of done.later) {
      log('warn', 'publish.later', { repo, target, ...errorFields(error) });
    }
    if (done.removed.length > 0) {
      log('info', 'clean.done', { repo, target, snapshots: done.removed.length });
    }
  }
}
