/**
 * Tells one target what waits for it, one after the other and oldest first, again and again until it
 * has been told. What nobody takes holds up nobody but what is behind it for the same target.
 */
import { crash } from '../crash.js';
import { isTimestamp, timestampMs } from '../repository/timestamp.js';
import type { Delivery } from './deliver.js';
import { type Notice, parseNotice } from './notice.js';

/** What waits on disk, by name, oldest first. */
export interface SenderQueue {
  list(): Promise<readonly string[]>;
  read(name: string): Promise<string | undefined>;
  remove(name: string): Promise<void>;
}

export interface SenderOptions {
  readonly box: SenderQueue;
  readonly deliver: (notice: Notice, body: Buffer, signal: AbortSignal) => Promise<Delivery>;
  /** The first delay after a failure, which doubles, and the longest (ms). */
  readonly retry: () => { readonly first: number; readonly most: number };
  /** The wall clock. */
  readonly nowMs: () => number;
  readonly onSent: (notice: Notice, tookMs: number) => void;
  readonly onFailed: (notice: Notice, what: string, attempt: number, nextMs: number) => void;
  /** It is given up. */
  readonly onDropped: (notice: Notice | undefined, what: string) => void;
  /** The box cannot be read now; it is looked at again. */
  readonly onTrouble: (error: Error) => void;
}

/** One that is refused is tried so often and then given up; the others must get their turn. */
const REFUSALS_MAX = 5;
/** One that nobody was there for is given up when it is so old, and was tried as often. */
const AGE_MS_MAX = 24 * 3_600_000;

export class Sender {
  readonly #options: SenderOptions;
  readonly #stopping = new AbortController();
  #running: Promise<void> | undefined;
  #lookAgain = false;
  #isStopping = false;
  /** How often the one whose turn it is was tried. */
  #tried = { name: '', times: 0 };
  #wake: () => void = () => {};

  constructor(options: SenderOptions) {
    this.#options = options;
  }

  /** Something may be waiting. */
  look(): void {
    if (this.#isStopping) return;
    this.#lookAgain = true;
    this.#running ??= this.#run()
      .finally(() => {
        this.#running = undefined;
      })
      .catch(crash);
  }

  /** Begins nothing new, lets what is under way end for so long (ms), then ends it. */
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

  /** Returns when it has been told, given up, or is to be left to the next start. */
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

  /** @returns true when it was told, or is given up */
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
