/**
 * Whose turn it is: repositories in parallel, one turn at a time each, and whatever waits for a
 * repository when its turn comes is taken together. The only door to p-queue.
 *
 * No timeouts and no signals: p-queue frees a slot while the task goes on (measured), and a publish
 * must have ended before the next begins.
 */
import PQueue from 'p-queue';

export class Work<Item> {
  readonly #slots: PQueue;
  readonly #turns = new Map<string, PQueue>();
  readonly #waiting = new Map<string, Item[]>();
  readonly #take: (key: string, items: Item[]) => Promise<void>;

  /**
   * @param take one turn; what it throws goes to `onBug`
   * @param onBug is told of what nobody foresaw: what the turn was for is not tried again
   * @param gather what a turn waits for before it asks for a slot: what comes meanwhile is in it
   */
  constructor(
    { parallel, batch }: { readonly parallel: number; readonly batch: number },
    take: (key: string, items: Item[]) => Promise<void>,
    readonly onBug: (error: unknown) => void,
    readonly gather: (key: string) => Promise<void> | undefined = () => undefined,
  ) {
    this.#slots = new PQueue({ concurrency: parallel });
    this.batch = batch;
    this.#take = take;
  }

  readonly batch: number;

  add(key: string, item: Item): void {
    const waiting = this.#waiting.get(key);
    if (waiting) {
      waiting.push(item);
      return;
    }
    this.#waiting.set(key, [item]);
    this.#queueTurn(key).catch(this.onBug);
  }

  /** Turns that run go on; nothing new begins. @returns when nothing runs any more */
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

  async #queueTurn(key: string): Promise<void> {
    const turn = this.#turns.get(key) ?? new PQueue({ concurrency: 1 });
    this.#turns.set(key, turn);
    try {
      await turn.add(async () => {
        await this.gather(key);
        await this.#slots.add(async () => {
          const items = this.#waiting.get(key) ?? [];
          this.#waiting.delete(key);
          const later = items.splice(this.batch);
          if (later.length > 0) for (const item of later) this.add(key, item);
          await this.#take(key, items);
        });
      });
    } finally {
      if (turn.size === 0 && turn.pending === 0) this.#turns.delete(key);
    }
  }
}
