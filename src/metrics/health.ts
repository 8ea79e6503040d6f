/**
 * Is everything there that publishing and pulling need? Says so in words that tell nobody outside
 * anything: which of three things is missing, never a path.
 */
import pTimeout from 'p-timeout';
import { errorFields } from '../report.js';
import { type Reach, reachDirectory } from '../storage/probe-directory.js';
import { formatTime } from '../units.js';

export interface HealthOptions {
  /** What must be reachable, by the name it is told under; absolute paths. */
  readonly places: readonly {
    readonly name: 'inbox' | 'published';
    readonly path: string;
    readonly use: 'read' | 'write';
  }[];
  /** Scans of the inbox are at most so far apart; undefined where nothing scans. */
  readonly scanMs: () => number | undefined;
  /** Milliseconds, of a clock that is never set. */
  readonly nowMs: () => number;
}

export interface Readiness {
  readonly isReady: boolean;
  /** `scanner: silent for 1m 35s`; empty when all is well. */
  readonly problems: readonly string[];
}

/** A disk that has not answered by then is said not to; it is not asked again until it has. */
const ANSWER_MS_MAX = 2000;
/** One look may be late, and so may the next. */
const SCANS_MISSED_MAX = 3;
/** A scan is told to take a tenth of the time; of a huge inbox that is more than its interval. */
const SCAN_SHARE = 10;
const SLACK_MS = 10_000;

export class Health {
  readonly #options: HealthOptions;
  readonly #asked = new Map<string, Promise<Reach>>();
  #isOpen: boolean;
  #scannedMs: number;
  #scanTookMs = 0;

  constructor(options: HealthOptions) {
    this.#options = options;
    // Where something scans, it is ready when it has scanned once.
    this.#isOpen = options.scanMs() === undefined;
    this.#scannedMs = options.nowMs();
  }

  scanned(tookMs: number): void {
    this.#isOpen = true;
    this.#scannedMs = this.#options.nowMs();
    this.#scanTookMs = tookMs;
  }

  async readiness(): Promise<Readiness> {
    const reached = await this.reach();
    const problems = reached.flatMap(({ name, problem }) =>
      problem === undefined ? [] : [`${name}: ${problem}`],
    );
    const scanner = this.#scannerProblem();
    if (scanner !== undefined) problems.push(`scanner: ${scanner}`);
    return { isReady: problems.length === 0, problems };
  }

  /** Each place with how full it is, or with what is wrong with it. */
  reach(): Promise<{ name: string; reach?: Reach; problem?: string }[]> {
    return Promise.all(
      this.#options.places.map(async ({ name, path, use }) => {
        // One question at a time: a disk that hangs must not take all of Node's threads.
        const asked = this.#asked.get(name) ?? reachDirectory(path, use);
        this.#asked.set(name, asked);
        const forget = () => void this.#asked.delete(name);
        asked.then(forget, forget);
        try {
          return { name, reach: await pTimeout(asked, { milliseconds: ANSWER_MS_MAX }) };
        } catch (error) {
          const { code } = errorFields(error as Error);
          return { name, problem: code === 'bug' ? 'does not answer' : `unreachable (${code})` };
        }
      }),
    );
  }

  #scannerProblem(): string | undefined {
    const { nowMs } = this.#options;
    const scanMs = this.#options.scanMs();
    if (scanMs === undefined) return undefined;
    if (!this.#isOpen) return 'starting';
    const silentMs = nowMs() - this.#scannedMs;
    const limitMs = SCANS_MISSED_MAX * scanMs + SCAN_SHARE * this.#scanTookMs + SLACK_MS;
    return silentMs > limitMs ? `silent for ${formatTime(silentMs)}` : undefined;
  }
}
