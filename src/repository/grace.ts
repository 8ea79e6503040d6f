/**
 * Computes the minimum age of a repository's flips, and which content is past its grace period. Pure. The
 * names of snapshots and the times in the history come from the wall clock: they give the order and are shown
 * to users, but are never used to compute an age (I9).
 */
import { ageIn, type ClockReading, elapsedSince, type Sighting, sight } from './elapsed.js';
import { type Timestamp, timestampMs } from './timestamp.js';

/** The part of a history entry that is needed here. */
export interface SeenFlip {
  readonly at: Timestamp;
  readonly snapshot: Timestamp;
  readonly clock?: ClockReading;
}

/** The minimum distance of ages within one sighting, as a fraction of the grace period. */
const STEP = 1 / 16;
/** The time that may be lost if a machine restarts before recording it, as a fraction of the grace period. */
const UNWRITTEN = 1 / 8;

/**
 * Returns the minimum age (ms) of each flip, in the order of the history. An earlier flip is at least as old
 * as a later one: the ages never grow along the list.
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
 * Returns the snapshot name (ms) of the newest flip that is past the grace period. Snapshots that this flip
 * or an earlier one replaced are past it as well. Infinity without a grace period, -Infinity if no flip is
 * past it.
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

/** Returns the key of a flip in a sighting. A repair may flip to the same snapshot twice. */
export function flipKey({ snapshot, at }: SeenFlip): string {
  return `${snapshot}/${at}`;
}

/** Returns the key of a snapshot that never was current. */
export function unfinishedKey(name: Timestamp): string {
  return `unfinished/${name}`;
}

/** The history of a repository, independent of its storage. */
export interface SeenHistory {
  readonly flips: readonly SeenFlip[];
  readonly sightings: readonly Sighting[];
}

/**
 * Returns the sighting to record, so that another host, or this one after a restart, does not start counting
 * from 0. Undefined if the gain is small or nothing depends on it. Ages beyond `graceMs` are not recorded.
 * @param waiting indexes in the history of flips whose grace period something depends on
 */
export function worthNoting(
  { flips, sightings }: SeenHistory,
  { waiting, unfinished }: { waiting: readonly number[]; unfinished: readonly Timestamp[] },
  { now, graceMs }: { readonly now: ClockReading; readonly graceMs: number },
): Sighting | undefined {
  const ages = flipAges(flips, sightings, now);
  // The ages that a new clock would compute.
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
