/**
 * Repositories in parallel, one batch at a time each; what waits for a repository when its batch begins is
 * in it.
 *
 * No timeouts and no signals: p-queue frees a slot while the task still runs (measured), and a publish
 * must have ended before the next begins.
 */
import { setImmediate } from 'node:timers/promises';
import PQueue from 'p-queue';

export interface BatchLimits {
  /** Batches at once. */
  readonly parallel: number;
  /** Items in one batch. */
  readonly batch: number;
}

export class BatchQueue<Item> {
  readonly #slots: PQueue;
  readonly #batches = new Map<string, PQueue>();
  readonly #waiting = new Map<string, Item[]>();
  readonly #limits: BatchLimits;
  readonly #publish: (items: Item[]) => Promise<void>;
  readonly #onBug: (error: unknown) => void;

  /**
   * @param publish one batch of one repository; what it throws goes to `onBug`
   * @param onBug called with unforeseen errors: the batch is not tried again
   */
  constructor(
    limits: BatchLimits,
    publish: (items: Item[]) => Promise<void>,
    onBug: (error: unknown) => void,
  ) {
    this.#slots = new PQueue({ concurrency: limits.parallel });
    this.#limits = limits;
    this.#publish = publish;
    this.#onBug = onBug;
  }

  /** @param key names the repository */
  add(key: string, item: Item): void {
    const waiting = this.#waiting.get(key);
    if (waiting) {
      waiting.push(item);
      return;
    }
    this.#waiting.set(key, [item]);
    this.#queueBatch(key).catch(this.#onBug);
  }

  /** Running batches end; nothing new begins. @returns when nothing runs any more */
  async stop(): Promise<void> {
    this.#slots.pause();
    await this.#slots.onPendingZero();
  }

  get running(): number {
    return this.#slots.pending;
  }

  get waiting(): number {
    return [...this.#waiting.values()].reduce((sum, items) => sum + items.length, 0);
  }

  async #queueBatch(key: string): Promise<void> {
    const batches = this.#batches.get(key) ?? new PQueue({ concurrency: 1 });
    this.#batches.set(key, batches);
    try {
      await batches.add(async () => {
        // What one job has claimed arrives together, one after the other.
        await setImmediate();
        await this.#slots.add(async () => {
          const items = this.#waiting.get(key) ?? [];
          this.#waiting.delete(key);
          for (const item of items.splice(this.#limits.batch)) this.add(key, item);
          await this.#publish(items);
        });
      });
    } finally {
      if (batches.size === 0 && batches.pending === 0) this.#batches.delete(key);
    }
  }
}

/**
 * Passes items on in the order in which they were announced, for each key, however long each takes to get
 * ready: of two drops for one tag the one that was claimed later must win. One that failed and is tried again
 * comes after those that did not wait for it.
 */
export class InOrder<Item> {
  readonly #announced = new Map<string, { readonly item: Item; isReady: boolean }[]>();

  constructor(readonly pass: (item: Item) => void) {}

  announce(key: string, item: Item): void {
    const waiting = this.#announced.get(key) ?? [];
    this.#announced.set(key, waiting);
    waiting.push({ item, isReady: false });
  }

  /** Passes it on as soon as those before it are ready or withdrawn. */
  ready(key: string, item: Item): void {
    const entry = this.#announced.get(key)?.find((each) => each.item === item);
    if (entry) entry.isReady = true;
    this.#passReady(key);
  }

  /** The others do not wait for it any longer. */
  withdraw(key: string, item: Item): void {
    const waiting = this.#announced.get(key) ?? [];
    const at = waiting.findIndex((each) => each.item === item);
    if (at >= 0) waiting.splice(at, 1);
    this.#passReady(key);
  }

  #passReady(key: string): void {
    const waiting = this.#announced.get(key);
    while (waiting?.[0]?.isReady) this.pass((waiting.shift() as { readonly item: Item }).item);
    if (waiting?.length === 0) this.#announced.delete(key);
  }
}
