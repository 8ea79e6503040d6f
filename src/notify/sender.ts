/**
 * Sends the queued notifications of one target, one at a time, oldest first, and retries each until it is
 * delivered. A failing notification delays only the later ones of the same target.
 */
import { crash } from '../crash.js';
import { isTimestamp, timestampMs } from '../repository/timestamp.js';
import type { Delivery } from './deliver.js';
import { type Notice, parseNotice } from './notice.js';

/** The queue on disk: file names, oldest first. */
export interface SenderQueue {
  list(): Promise<readonly string[]>;
  read(name: string): Promise<string | undefined>;
  remove(name: string): Promise<void>;
}

export interface SenderOptions {
  readonly box: SenderQueue;
  readonly deliver: (notice: Notice, body: Buffer, signal: AbortSignal) => Promise<Delivery>;
  /** The delay after the first failure, which doubles each time, and the longest delay (ms). */
  readonly retry: () => { readonly first: number; readonly most: number };
  /** Wall clock. */
  readonly nowMs: () => number;
  readonly onSent: (notice: Notice, tookMs: number) => void;
  readonly onFailed: (notice: Notice, what: string, attempt: number, nextMs: number) => void;
  /** Called when a notification is dropped. */
  readonly onDropped: (notice: Notice | undefined, what: string) => void;
  /** Called when the queue cannot be read; it is read again later. */
  readonly onTrouble: (error: Error) => void;
}

/** A refused notification is dropped after this many attempts, so that the later ones are sent. */
const REFUSALS_MAX = 5;
/** If the target is unavailable, a notification is dropped at this age, after the same number of attempts. */
const AGE_MS_MAX = 24 * 3_600_000;

export class Sender {
  readonly #options: SenderOptions;
  readonly #stopping = new AbortController();
  #running: Promise<void> | undefined;
  #lookAgain = false;
  #isStopping = false;
  /** The number of attempts for the current notification. */
  #tried = { name: '', times: 0 };
  #wake: () => void = () => {};

  constructor(options: SenderOptions) {
    this.#options = options;
  }

  /** Checks the queue for new notifications. */
  look(): void {
    if (this.#isStopping) return;
    this.#lookAgain = true;
    this.#running ??= this.#run()
      .finally(() => {
        this.#running = undefined;
      })
      .catch(crash);
  }

  /** Starts nothing new. A running delivery has `waitMs` to finish, then it is aborted. */
  async stop(waitMs: number): Promise<void> {
    this.#isStopping = true;
    this.#wake();
    const timer = setTimeout(() => this.#stopping.abort(), waitMs);
    await this.#running;
    clearTimeout(timer);
  }

  async #run(): Promise<void> {
    while (this.#lookAgain && !this.#isStopping) {
      this.#lookAgain = false;
      try {
        for (const name of await this.#options.box.list()) {
          await this.#bring(name);
          if (this.#isStopping) return;
        }
      } catch (error) {
        this.#options.onTrouble(error as Error);
      }
    }
  }

  /** Returns when the notification is delivered, dropped, or left for the next start. */
  async #bring(name: string): Promise<void> {
    const { box, onDropped } = this.#options;
    const text = await box.read(name);
    if (text === undefined) return;
    const notice = parseNotice(text);
    if (notice === undefined) {
      onDropped(undefined, 'damaged');
      return box.remove(name);
    }
    while (!this.#isStopping) {
      if (await this.#try(name, notice, Buffer.from(text))) return box.remove(name);
    }
  }

  /** @returns true if it was delivered or dropped */
  async #try(name: string, notice: Notice, body: Buffer): Promise<boolean> {
    const { deliver, onSent, onFailed, onDropped, retry, nowMs } = this.#options;
    const beganMs = performance.now();
    const delivery = await deliver(notice, body, this.#stopping.signal);
    if (delivery.ok) {
      onSent(notice, performance.now() - beganMs);
      return true;
    }
    if (this.#stopping.signal.aborted) return false;
    const times = this.#tried.name === name ? this.#tried.times + 1 : 1;
    this.#tried = { name, times };
    const isOld = isTimestamp(notice.at) && nowMs() - timestampMs(notice.at) > AGE_MS_MAX;
    const isLost = delivery.why === 'refused' || isOld;
    if (isLost && times >= REFUSALS_MAX) {
      onDropped(notice, delivery.what);
      return true;
    }
    const delayMs = Math.min(retry().first * 2 ** (times - 1), retry().most);
    onFailed(notice, delivery.what, times, delayMs);
    await this.#pause(delayMs);
    return false;
  }

  #pause(ms: number): Promise<void> {
    if (this.#isStopping) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
