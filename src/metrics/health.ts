/**
 * Checks that everything needed for publishing and pulling is available. The result is public, so it names
 * only the missing component, never a path.
 */
import pTimeout from 'p-timeout';
import { errorFields } from '../report.js';
import { type Reach, reachDirectory } from '../storage/probe-directory.js';
import { formatTime } from '../units.js';

export interface HealthOptions {
  /** The directories that must be reachable (absolute paths), with their public names. */
  readonly places: readonly {
    readonly name: 'inbox' | 'published';
    readonly path: string;
    readonly use: 'read' | 'write';
  }[];
  /** The longest interval between scans of the inbox; undefined if this process does not scan. */
  readonly scanMs: () => number | undefined;
  /** Returns true while the endpoint cannot listen at one of its addresses. */
  readonly endpointFails?: () => boolean;
  /** Monotonic clock (ms). */
  readonly nowMs: () => number;
}

export interface Readiness {
  readonly isReady: boolean;
  /** For example `scanner: no scan for 1m 35s`; empty if there is no problem. */
  readonly problems: readonly string[];
}

/** A disk that does not respond within this time is reported; it is not probed again until it responds. */
const ANSWER_MS_MAX = 2000;
/** Allows for two late scans. */
const SCANS_MISSED_MAX = 3;
/** Scans are meant to use a tenth of the time; for a huge inbox the interval grows accordingly. */
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
    // A process that scans is ready after the first scan.
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
    if (this.#options.endpointFails?.() === true) problems.push('endpoint: not listening');
    return { isReady: problems.length === 0, problems };
  }

  /** Returns each directory with its disk usage or its problem. */
  reach(): Promise<{ name: string; reach?: Reach; problem?: string }[]> {
    return Promise.all(
      this.#options.places.map(async ({ name, path, use }) => {
        // One probe at a time for each directory: a hanging disk must not block all of Node's threads.
        const asked = this.#asked.get(name) ?? reachDirectory(path, use);
        this.#asked.set(name, asked);
        const forget = () => void this.#asked.delete(name);
        asked.then(forget, forget);
        try {
          return { name, reach: await pTimeout(asked, { milliseconds: ANSWER_MS_MAX }) };
        } catch (error) {
          const { code } = errorFields(error as Error);
          return { name, problem: code === 'bug' ? 'does not respond' : `unreachable (${code})` };
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
    return silentMs > limitMs ? `no scan for ${formatTime(silentMs)}` : undefined;
  }
}
