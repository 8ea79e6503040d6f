/**
 * How long ago a repository's flips were, as far as that is sure, and so what is past its grace period.
 * Pure. The names of snapshots, and the times in the history, are what the wall clock said: they give
 * the order of things and are shown to people, and no age is counted from them (I9).
 */
import { ageIn, type ClockReading, elapsedSince, type Sighting, sight } from './elapsed.js';
import { type Timestamp, timestampMs } from './timestamp.js';

/** What is asked of a flip here. */
export interface SeenFlip {
  readonly at: Timestamp;
  readonly snapshot: Timestamp;
  readonly clock?: ClockReading;
}

/** Ages within one sighting are that part of the grace period apart, or more. */
const STEP = 1 / 16;
/** What is lost when a machine starts anew before it is written down, as a part of the grace period. */
const UNWRITTEN = 1 / 8;

/**
 * At least so many milliseconds ago was each flip, in the order of the history. What came later tells
 * of what came before: the ages never grow along the list.
 */
export function flipAges(
  flips: readonly SeenFlip[],
  sightings: readonly Sighting[],
  now: ClockReading,
): number[] {
  const ages: number[] = [];
  let least = 0;
  for (let at = flips.length - 1; at >= 0; at--) {
    const flip = flips[at] as SeenFlip;
    const sighted = ageIn(sightings, flipKey(flip), now) ?? 0;
    least = Math.max(least, sighted, elapsedSince(flip.clock, now));
    ages[at] = least;
  }
  return ages;
}

/**
 * The name (ms) of the newest flip that is past the grace period: what stopped being current with that
 * flip or an earlier one is, too. Infinity where there is no grace period, -Infinity where nothing is.
 */
export function expiredUpTo(
  flips: readonly SeenFlip[],
  ages: readonly number[],
  graceMs: number,
): number {
  if (graceMs <= 0) return Number.POSITIVE_INFINITY;
  const at = ages.findLastIndex((age) => age >= graceMs);
  const flip = flips[at];
  return flip ? timestampMs(flip.snapshot) : Number.NEGATIVE_INFINITY;
}

/** How a sighting names a flip. A repair may turn the pivot to the same snapshot twice. */
export function flipKey({ snapshot, at }: SeenFlip): string {
  return `${snapshot}/${at}`;
}

/** How a sighting names a snapshot that never was current. */
export function unfinishedKey(name: Timestamp): string {
  return `unfinished/${name}`;
}

/** What the history of a repository says, whatever keeps it. */
export interface SeenHistory {
  readonly flips: readonly SeenFlip[];
  readonly sightings: readonly Sighting[];
}

/**
 * What is worth writing down, so that another host, or this one after its next start, need not begin to
 * count anew. Undefined where that is little, and where nothing waits for it.
 * @param waiting places in the history of flips whose grace period something waits for
 */
export function worthNoting(
  { flips, sightings }: SeenHistory,
  { waiting, unfinished }: { waiting: readonly number[]; unfinished: readonly Timestamp[] },
  { now, graceMs }: { readonly now: ClockReading; readonly graceMs: number },
): Sighting | undefined {
  const ages = flipAges(flips, sightings, now);
  // What a clock that has seen none of it would say.
  const written = flipAges(flips, sightings, { id: '', ms: 0 });
  const lastSeen = flips.findLastIndex(
    (flip) => flip.clock?.id === now.id || isNamed(sightings, flipKey(flip), now),
  );
  const places = waiting.filter((at) => at < flips.length).sort((a, b) => b - a);
  const isWanted = places.some((at) => {
    const known = written[at] ?? 0;
    const gain = Math.min(ages[at] ?? 0, graceMs) - known;
    return known < graceMs && (at > lastSeen || gain >= graceMs * UNWRITTEN);
  });
  const keys = unfinished.map(unfinishedKey);
  if (!isWanted && keys.every((key) => isNamed(sightings, key, now))) return undefined;
  const named: Record<string, number> = {};
  let last = Number.NEGATIVE_INFINITY;
  for (const at of places) {
    const age = ages[at] ?? 0;
    if (last >= graceMs) break;
    if (age < last + graceMs * STEP) continue;
    named[flipKey(flips[at] as SeenFlip)] = age;
    last = age;
  }
  return { clock: now, ages: { ...named, ...sight(sightings, keys, now).ages } };
}

function isNamed(sightings: readonly Sighting[], key: string, { id }: ClockReading): boolean {
  return sightings.some(({ clock, ages }) => clock.id === id && Object.hasOwn(ages, key));
}
