/** Shows the progress of a publish: one updated line on a terminal, plain lines elsewhere. */
import { type Progress, readProgress } from '../storage/progress.js';
import { formatBytes } from '../units.js';

export interface ProgressOutput {
  readonly isTerminal: boolean;
  readonly write: (text: string) => void;
}

const EVERY_MS = { terminal: 100, plain: 5000 };
const BAR_WIDTH = 24;

export class ProgressLine {
  readonly #startedMs = performance.now();
  readonly #timer: NodeJS.Timeout;
  #shown = false;

  /**
   * @param what the activity, as a word: "reading", "receiving"
   * @param total bytes; undefined if unknown
   */
  constructor(
    readonly output: ProgressOutput,
    readonly what: string,
    readonly progress: Progress,
    readonly total: number | undefined,
  ) {
    const everyMs = output.isTerminal ? EVERY_MS.terminal : EVERY_MS.plain;
    this.#timer = setInterval(() => this.#show(), everyMs);
  }

  /** Stops, and erases the line from a terminal. */
  end(): void {
    clearInterval(this.#timer);
    if (this.#shown && this.output.isTerminal) this.output.write('\r\x1b[K');
  }

  #show(): void {
    this.#shown = true;
    const elapsedMs = performance.now() - this.#startedMs;
    const line = describeProgress(this.what, readProgress(this.progress), this.total, elapsedMs);
    this.output.write(this.output.isTerminal ? `\r\x1b[K${line}` : `${line}\n`);
  }
}

/** `reading [######----] 1.2 GiB of 2 GiB, 810 MiB/s` */
export function describeProgress(
  what: string,
  done: number,
  total: number | undefined,
  elapsedMs: number,
): string {
  const rate = `${formatBytes(Math.round((done / Math.max(elapsedMs, 1)) * 1000))}/s`;
  if (total === undefined) return `${what} ${formatBytes(done)}, ${rate}`;
  // Content that the repository has already is not read again, so reading may end before 100 %.
  const share = total === 0 ? 1 : Math.min(1, done / total);
  const filled = Math.round(share * BAR_WIDTH);
  const bar = '#'.repeat(filled) + '-'.repeat(BAR_WIDTH - filled);
  return `${what} [${bar}] ${formatBytes(done)} of ${formatBytes(total)}, ${rate}`;
}
