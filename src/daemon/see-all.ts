/**
 * Looks at the inbox until nobody comes right behind. Where very many come at once the first look sees some
 * of them, and of each repository some: two snapshots would be made where one does (2,000 drops over 100
 * repositories: 210 snapshots, and 110 in this way, for an eighth of the time).
 */
import type { Observation, ScanResult } from '../inbox/scan.js';

/** So many new drops in one look are a crowd: who comes right behind belongs to it. */
const CROWD_MIN = 10;
/** Nobody in a crowd waits longer for another look to begin. */
const CROWD_MS = 250;

export interface Looks {
  readonly look: () => Promise<ScanResult>;
  /** How many hints there have been. */
  readonly hints: () => number;
  /** False for what is known to wait: it is not coming. */
  readonly isNew: (drop: Observation) => boolean;
  /** Milliseconds of a clock that is never set. */
  readonly monotonicMs: () => number;
}

export async function seeAll({ look, hints, isNew, monotonicMs }: Looks): Promise<ScanResult> {
  const beganMs = monotonicMs();
  for (;;) {
    const before = hints();
    const seen = await look();
    if (hints() === before || monotonicMs() - beganMs > CROWD_MS) return seen;
    if (seen.drops.filter(isNew).length < CROWD_MIN) return seen;
  }
}
