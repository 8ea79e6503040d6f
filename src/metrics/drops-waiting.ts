/** Counts waiting drops and their age, from the results of scans and the current claims. */
import { isTimestamp, timestampMs } from '../repository/timestamp.js';

interface Waiting {
  readonly drops: number;
  readonly oldestSeconds: number;
}

export class DropsWaiting {
  #since = new Map<string, number>();

  /** @param nowMs the wall clock, because the names of claims contain wall clock times */
  constructor(readonly nowMs: () => number) {}

  /** Records the drops that are in the inbox now. */
  seen(paths: readonly string[]): void {
    const now = this.nowMs();
    this.#since = new Map(paths.map((path) => [path, this.#since.get(path) ?? now]));
  }

  /** @param claims `name@timestamp` */
  count(claims: Iterable<string>): { readonly inbox: Waiting; readonly claimed: Waiting } {
    const claimedMs = [...claims]
      .map((claim) => claim.slice(claim.lastIndexOf('@') + 1))
      .map((at) => (isTimestamp(at) ? timestampMs(at) : this.nowMs()));
    return { inbox: this.#waiting([...this.#since.values()]), claimed: this.#waiting(claimedMs) };
  }

  #waiting(sinceMs: readonly number[]): Waiting {
    const now = this.nowMs();
    const oldestMs = sinceMs.reduce((least, each) => Math.min(least, each), now);
    return { drops: sinceMs.length, oldestSeconds: Math.max(0, now - oldestMs) / 1000 };
  }
}
