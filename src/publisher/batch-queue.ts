/**
 * Publishes repositories in parallel, one batch per repository at a time. A batch takes everything that waits
 * for its repository when it starts.
 *
 * Uses no timeouts or signals of p-queue: it frees a slot while the task still runs (measured), and a publish
 * must end before the next one of its repository starts.
 */
import { setImmediate } from 'node:timers/promises';
import PQueue from 'p-queue';

export interface BatchLimits {
  /** Batches that may run at once. */
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
   * @param publish publishes one batch of one repository; its errors go to `onBug`
   * @param onBug called with unexpected errors; the batch is not retried
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

  /** @param key identifies the repository */
  add(key: string, item: Item): void {
    const waiting = this.#waiting.get(key);
    if (waiting) {
      waiting.push(item);
      return;
    }
    this.#waiting.set(key, [item]);
    this.#queueBatch(key).catch(this.#onBug);
  }

  /**
   * Waits for running batches and starts no new ones.
   * @returns when nothing runs any more
   */
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
        // Yields first, so that drops claimed by one job get into one batch.
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
 * Passes on items in the order of their announcement, per key, however long each takes to get ready: when two
 * drops have the same tag, the one claimed later must win. A failed item that is retried comes after items
 * that did not wait for it.
 */
export class InOrder<Item> {
  readonly #announced = new Map<string, { readonly item: Item; isReady: boolean }[]>();

  constructor(readonly pass: (item: Item) => void) {}

  announce(key: string, item: Item): void {
    const waiting = this.#announced.get(key) ?? [];
    this.#announced.set(key, waiting);
    waiting.push({ item, isReady: false });
  }

  /** Passes the item on when all items before it are ready or withdrawn. */
  ready(key: string, item: Item): void {
    const entry = this.#announced.get(key)?.find((each) => each.item === item);
    if (entry) entry.isReady = true;
    this.#passReady(key);
  }

  /** The others no longer wait for this item. */
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
