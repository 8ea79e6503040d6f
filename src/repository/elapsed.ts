/**
 * Computes how much time has passed at least since an event was seen. A wall clock cannot tell: it can be set
 * back, set forward and corrected. A monotonic clock (`CLOCK_MONOTONIC`) can, but only for two readings of
 * the same clock. So each process records its knowledge as "at this reading, at least this much time had
 * passed", and the largest age that follows from all records is used. Each record is true on its own, on any
 * host, so records can be lost, repeated or late: an age may be too small, but never too large. Pure.
 */

/** A reading of a monotonic clock. */
export interface ClockReading {
  /** Readings of different clocks cannot be compared. */
  readonly id: string;
  /** Milliseconds since the start of the clock. */
  readonly ms: number;
}

/** At this reading, at least `ages[key]` ms had passed since each key was seen. */
export interface Sighting {
  readonly clock: ClockReading;
  readonly ages: Readonly<Record<string, number>>;
}

/** Hosts that no longer exist leave sightings behind; only this many of the newest clocks are kept. */
const CLOCKS_KEPT = 8;

/** Returns the minimum time (ms) between a reading and now: 0 if the clocks differ. */
export function elapsedSince(reading: ClockReading | undefined, now: ClockReading): number {
  return reading?.id === now.id ? Math.max(0, now.ms - reading.ms) : 0;
}

/** Returns the largest age (ms) that the sightings prove; undefined if none of them names the key. */
export function ageIn(
  sightings: readonly Sighting[],
  key: string,
  now: ClockReading,
): number | undefined {
  let most: number | undefined;
  for (const { clock, ages } of sightings) {
    const age = Object.hasOwn(ages, key) ? ages[key] : undefined;
    if (age !== undefined) most = Math.max(most ?? 0, age + elapsedSince(clock, now));
  }
  return most;
}

/** Returns a sighting of these keys as of now; keys not seen before start at 0. */
export function sight(
  sightings: readonly Sighting[],
  keys: Iterable<string>,
  now: ClockReading,
): Sighting {
  const ages: Record<string, number> = Object.create(null);
  for (const key of keys) ages[key] = ageIn(sightings, key, now) ?? 0;
  return { clock: now, ages };
}

/** Adds a sighting. It replaces the previous one of its clock, whose ages it includes. */
export function addSighting(sightings: readonly Sighting[], added: Sighting): Sighting[] {
  const others = sightings.filter(({ clock }) => clock.id !== added.clock.id);
  return [...others.slice(1 - CLOCKS_KEPT), added];
}

/** Returns undefined if the value is not a sighting, for example a truncated line. */
export function parseSighting(value: unknown): Sighting | undefined {
  const { clock, ages } = (value ?? {}) as { clock?: unknown; ages?: unknown };
  const reading = parseReading(clock);
  if (reading === undefined || typeof ages !== 'object' || ages === null) return undefined;
  const isAge = (age: unknown) => typeof age === 'number' && age >= 0;
  return Object.values(ages).every(isAge)
    ? { clock: reading, ages: ages as Record<string, number> }
    : undefined;
}

/** Returns undefined if the value is not a clock reading. */
export function parseReading(value: unknown): ClockReading | undefined {
  const { id, ms } = (value ?? {}) as { id?: unknown; ms?: unknown };
  return typeof id === 'string' && typeof ms === 'number' && ms >= 0 ? { id, ms } : undefined;
}
