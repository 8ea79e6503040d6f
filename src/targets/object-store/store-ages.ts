/**
 * What cleanings of a store have seen, and how long ago: the clocks of publishers, of cleaners and of the
 * store itself may be set, and hosts come and go. See repository/elapsed.ts. Each statement is true for
 * itself, so two cleanings at the same time may write one over the other: ages are then too small.
 */
import type { RepositoryId } from '../../image/names.js';
import { addSighting, parseSighting, type Sighting } from '../../repository/elapsed.js';
import { expiredUpTo, flipAges, flipKey, type SeenFlip } from '../../repository/grace.js';
import { AGES_KEY, FRESH } from './object-keys.js';
import type { Pointer, PointerFlip } from './pointer.js';
import type { StoreAges } from './read-current.js';
import { withRetry } from './retry-request.js';
import type { StoreContext } from './store-context.js';

/** For so long (ms) a publisher goes by what it read: old ages are only smaller. */
const READ_AGAIN_MS = 600_000;

export async function readAges({ store }: StoreContext): Promise<StoreAges> {
  const found = await withRetry(() => store.get(AGES_KEY));
  const ages = new Map<RepositoryId, Sighting[]>();
  if (typeof found !== 'object') return ages;
  for (const [id, sightings] of Object.entries(parseObject(found.body))) {
    ages.set(id as RepositoryId, parseSightings(sightings));
  }
  return ages;
}

export async function writeAges({ store }: StoreContext, ages: StoreAges): Promise<void> {
  const body = Buffer.from(JSON.stringify(Object.fromEntries(ages)));
  const attributes = { contentType: 'application/json', cacheControl: FRESH };
  await withRetry(() => store.put(AGES_KEY, body, attributes));
}

/** What was seen unused, as one list for all repositories. */
export async function readSightings({ store }: StoreContext, key: string): Promise<Sighting[]> {
  const found = await withRetry(() => store.get(key));
  return typeof found === 'object' ? parseSightings(parseObject(found.body).seen) : [];
}

export async function writeSighting(
  { store }: StoreContext,
  key: string,
  before: readonly Sighting[],
  added: Sighting,
): Promise<void> {
  const body = Buffer.from(JSON.stringify({ seen: addSighting(before, added) }));
  const attributes = { contentType: 'application/json', cacheControl: FRESH };
  await withRetry(() => store.put(key, body, attributes));
}

/**
 * What is past its grace period for a publisher, see `expiredUpTo`. Asks the store only where its own
 * clock does not tell.
 */
export async function expiredFor(
  context: StoreContext,
  graceMs: number,
  pointer: Pointer | undefined,
): Promise<number> {
  if (graceMs <= 0) return Number.POSITIVE_INFINITY;
  const now = context.clock();
  const none: StoreAges = new Map();
  const { flips } = historyOf(context, pointer, none);
  const own = flipAges(flips, [], now);
  // Nothing is carried on since the first flip, and what this process has seen all along it knows best.
  const from = Math.max(1, own.findLastIndex((age) => age >= graceMs) + 1);
  if (pointer === undefined || flips.slice(from).every(({ clock }) => clock !== undefined)) {
    return expiredUpTo(flips, own, graceMs);
  }
  const { sightings } = historyOf(context, pointer, await recentAges(context));
  return expiredUpTo(flips, flipAges(flips, sightings, now), graceMs);
}

async function recentAges(context: StoreContext): Promise<StoreAges> {
  const { memory, monotonicMs } = context;
  const nowMs = monotonicMs();
  if (memory.ages === undefined || nowMs - memory.ages.readMs > READ_AGAIN_MS) {
    memory.ages = { ages: await readAges(context), readMs: nowMs };
  }
  return memory.ages.ages;
}

/**
 * The history of a pointer, with what this process saw of it and what cleanings knew. A reading in the
 * pointer itself would be one from before the flip.
 */
export function historyOf(
  { memory }: Pick<StoreContext, 'memory'>,
  pointer: Pointer | undefined,
  ages: StoreAges,
): {
  readonly flips: readonly (PointerFlip & SeenFlip)[];
  readonly sightings: readonly Sighting[];
} {
  if (pointer === undefined) return { flips: [], sightings: [] };
  const { id, history } = pointer;
  const flips = history.map((flip) => {
    const clock = memory.flips.get(id, flipKey(flip));
    return clock ? { ...flip, clock } : flip;
  });
  return { flips, sightings: ages.get(id) ?? [] };
}

/** A damaged object only makes things stay longer. */
function parseObject(body: Buffer): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(body.toString('utf8'));
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

function parseSightings(value: unknown): Sighting[] {
  return Array.isArray(value) ? value.flatMap((each) => parseSighting(each) ?? []) : [];
}
