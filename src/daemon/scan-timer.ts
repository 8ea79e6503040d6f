/**
 * Schedules the scans of the inbox: at once after an event, but with a pause between scans if events come
 * continuously. Scans never overlap.
 */
import { crash } from '../crash.js';

/**
 * The pause after a scan is twice the scan's duration: copying an archive into the inbox causes an event with
 * each write (with 200 waiting drops, 850 writes a second took 74 to 82 % of a CPU, and 34 % with the pause).
 * BREATH_MS_MAX limits the pause, because a new drop waits for it.
 */
const BREATH_SHARE = 2;
const BREATH_MS_MAX = 50;

export interface ScanTimerOptions {
  /** Runs a scan. An error it throws is a bug. */
  readonly look: () => Promise<void>;
  /** Returns the time of the monotonic clock (ms). */
  readonly monotonicMs: () => number;
  /** Returns the longest time between two scans (ms). */
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

  /** Makes sure that a scan starts within this time (ms), or when the pause after the last one is over. */
  within(delayMs: number): void {
    if (this.#stopped) return;
    const dueMs = this.#options.monotonicMs() + delayMs;
    if (dueMs >= this.#dueMs) return;
    this.#dueMs = dueMs;
    this.#disarm();
    if (this.#looking === undefined) this.#arm();
  }

  /** Starts no further scan, and waits for a running one. */
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
    // Never longer than mostMs, even if no time is due.
    const restMs = Math.min(
      Math.max(0, atMs - this.#options.monotonicMs()),
      this.#options.mostMs(),
    );
    // setTimeout waits at least a millisecond.
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
