/**
 * How much time has surely passed since something was seen. A wall clock cannot tell: it is set back,
 * set forward and corrected. What tells is a clock that only counts (`CLOCK_MONOTONIC`), and of that
 * only two readings of the same one. So whoever sees something writes down what it knows, "at this
 * reading at least so much time had passed", and whoever judges takes the largest age that follows from
 * what was written down. Each such statement is true for itself, on whichever host it was made, so they
 * can be lost, repeated or come late: an age may be too small, never too large. Pure.
 */

/** A reading of a clock that is never set. */
export interface ClockReading {
  /** Readings of different clocks cannot be compared. */
  readonly id: string;
  /** Milliseconds since that clock began to count. */
  readonly ms: number;
}

/** At this reading at least so many milliseconds had passed since each of these was seen. */
export interface Sighting {
  readonly clock: ClockReading;
  readonly ages: Readonly<Record<string, number>>;
}

/** A host that is gone leaves its last sighting behind; of so many clocks the newest are kept. */
const CLOCKS_KEPT = 8;

/** At least so much time (ms) lies between a reading and now: none, where that cannot be told. */
export function elapsedSince(reading: ClockReading | undefined, now: ClockReading): number {
  return reading?.id === now.id ? Math.max(0, now.ms - reading.ms) : 0;
}

/** The largest age (ms) that the sightings prove; undefined for what none of them names. */
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

/** What is known now of each of these; what was not seen before begins at 0. */
export function sight(
  sightings: readonly Sighting[],
  keys: Iterable<string>,
  now: ClockReading,
): Sighting {
  const ages: Record<string, number> = Object.create(null);
  for (const key of keys) ages[key] = ageIn(sightings, key, now) ?? 0;
  return { clock: now, ages };
}

/** Adds a sighting. It stands for the last one of its clock, whose ages it has taken over. */
export function addSighting(sightings: readonly Sighting[], added: Sighting): Sighting[] {
  const others = sightings.filter(({ clock }) => clock.id !== added.clock.id);
  return [...others.slice(1 - CLOCKS_KEPT), added];
}

/** Undefined for what is no sighting: a line that was cut short, or something else's. */
export function parseSighting(value: unknown): Sighting | undefined {
  const { clock, ages } = (value ?? {}) as { clock?: unknown; ages?: unknown };
  const reading = parseReading(clock);
  if (reading === undefined || typeof ages !== 'object' || ages === null) return undefined;
  const isAge = (age: unknown) => typeof age === 'number' && age >= 0;
  return Object.values(ages).every(isAge)
    ? { clock: reading, ages: ages as Record<string, number> }
    : undefined;
}

/** Undefined for what is no reading of a clock. */
export function parseReading(value: unknown): ClockReading | undefined {
  const { id, ms } = (value ?? {}) as { id?: unknown; ms?: unknown };
  return typeof id === 'string' && typeof ms === 'number' && ms >= 0 ? { id, ms } : undefined;
}
