/** Times that name claims, receipts and rejected drops. Pure except for its memory. */
import { flatDropName } from '../image/names.js';

/** How long a time is remembered (ms); longer than a drop takes from here to the rename. */
const KEPT_MS = 10_000;

/**
 * Gives no two drops the same flat name and time. Receipts and directories in `.rejected` are named by the
 * flat name and the time of the claim, and `team/app` and `team~app` have the same flat name: of two drops
 * claimed in the same millisecond, the later would overwrite the receipt of the earlier.
 */
export class ClaimMoments {
  #recent = new Map<string, number>();
  #older = new Map<string, number>();
  #sinceMs = 0;

  /** @returns the time of this claim (ms): now, or the next free one */
  next(path: string, nowMs: number): number {
    if (Math.abs(nowMs - this.#sinceMs) > KEPT_MS) {
      [this.#older, this.#recent] = [this.#recent, new Map()];
      this.#sinceMs = nowMs;
    }
    const name = flatDropName(path);
    const lastMs = this.#recent.get(name) ?? this.#older.get(name);
    // A time far in the future was given before the clock was corrected.
    const isNear = lastMs !== undefined && lastMs >= nowMs && lastMs - nowMs < KEPT_MS;
    const ms = isNear ? lastMs + 1 : nowMs;
    this.#recent.set(name, ms);
    return ms;
  }
}
