/** Moments by which claims, receipts and rejected drops are named. Pure but for what it remembers. */
import { flatDropName } from '../image/names.js';

/** How long a moment is remembered (ms); longer than any drop takes from here to its claim's name. */
const KEPT_MS = 10_000;

/**
 * Gives no two drops the same name and moment. Receipts, and places in `.rejected`, are named by the
 * flat name and the moment of the claim, and `team/app` and `team~app` have the same flat name: of
 * two that are taken in one millisecond, the later would replace what the earlier one left.
 */
export class ClaimMoments {
  #recent = new Map<string, number>();
  #older = new Map<string, number>();
  #sinceMs = 0;

  /** @returns the moment of this drop's claim (ms): now, or the next that is free */
  next(path: string, nowMs: number): number {
    if (Math.abs(nowMs - this.#sinceMs) > KEPT_MS) {
      [this.#older, this.#recent] = [this.#recent, new Map()];
      this.#sinceMs = nowMs;
    }
    const name = flatDropName(path);
    const lastMs = this.#recent.get(name) ?? this.#older.get(name);
    // What is far ahead was given before the clock was corrected.
    const isNear = lastMs !== undefined && lastMs >= nowMs && lastMs - nowMs < KEPT_MS;
    const ms = isNear ? lastMs + 1 : nowMs;
    this.#recent.set(name, ms);
    return ms;
  }
}
