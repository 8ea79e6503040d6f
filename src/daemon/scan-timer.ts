/**
 * When the inbox is looked at: at once where something has happened, and not over and over where things
 * happen without a pause. Looks never overlap.
 */
import { crash } from '../crash.js';

/**
 * After a look twice as long without one: whoever copies an archive into the inbox gives a hint with each
 * write (beside 200 drops that wait, 850 writes a second cost 74 to 82 % of a processor, and 34 with this). But a
 * drop that is there waits no longer than this.
 */
const BREATH_SHARE = 2;
const BREATH_MS_MAX = 50;

export interface ScanTimerOptions {
  /** It handles what it can; what it throws is a bug. */
  readonly look: () => Promise<void>;
  /** Milliseconds of a clock that is never set. */
  readonly monotonicMs: () => number;
  /** The longest time without a look (ms). */
  readonly mostMs: () => number;
}

export class ScanTimer {
  readonly #options: ScanTimerOptions;
  #timer: NodeJS.Timeout | undefined;
  #next: NodeJS.Immediate | undefined;
  #dueMs = Number.POSITIVE_INFINITY;
  #notBeforeMs = Number.NEGATIVE_INFINITY;
  #looking: Promise<void> | undefined;
  #stopped = false;

  constructor(options: ScanTimerOptions) {
    this.#options = options;
  }

  /** Makes sure that a look begins within so many milliseconds, or when a breath after the last is over. */
  within(delayMs: number): void {
    if (this.#stopped) return;
    const dueMs = this.#options.monotonicMs() + delayMs;
    if (dueMs >= this.#dueMs) return;
    this.#dueMs = dueMs;
    this.#disarm();
    if (this.#looking === undefined) this.#arm();
  }

  /** A look that has begun comes to its end; none begins. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#disarm();
    await this.#looking;
  }

  #disarm(): void {
    clearTimeout(this.#timer);
    clearImmediate(this.#next);
  }

  #arm(): void {
    const atMs = Math.max(this.#dueMs, this.#notBeforeMs);
    // What is due comes first in any case; no timer waits longer than that.
    const restMs = Math.min(
      Math.max(0, atMs - this.#options.monotonicMs()),
      this.#options.mostMs(),
    );
    // A timer takes a millisecond at least.
    if (restMs === 0) this.#next = setImmediate(() => this.#look());
    else this.#timer = setTimeout(() => this.#look(), restMs);
  }

  #look(): void {
    const { look, monotonicMs } = this.#options;
    this.#dueMs = Number.POSITIVE_INFINITY;
    const beganMs = monotonicMs();
    this.#looking = look()
      .finally(() => {
        const endedMs = monotonicMs();
        this.#notBeforeMs = endedMs + Math.min((endedMs - beganMs) * BREATH_SHARE, BREATH_MS_MAX);
        this.#looking = undefined;
        if (!this.#stopped) this.#arm();
      })
      .catch(crash);
  }
}
