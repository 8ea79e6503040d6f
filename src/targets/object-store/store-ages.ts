/**
 * The readings of cleanings, and how long ago they were. Clocks of publishers, cleaners and the store may be
 * set, and hosts are added and removed; see repository/elapsed.ts. Each entry is valid by itself, so a
 * concurrent cleaning may overwrite entries: ages are then too low, which is safe.
 */
import type { RepositoryId } from '../../image/names.js';
import { addSighting, parseSighting, type Sighting } from '../../repository/elapsed.js';
import { expiredUpTo, flipAges, flipKey, type SeenFlip } from '../../repository/grace.js';
import { AGES_KEY, FRESH } from './object-keys.js';
import type { Pointer, PointerFlip } from './pointer.js';
import type { StoreAges } from './read-current.js';
import { withRetry } from './retry-request.js';
import type { StoreContext } from './store-context.js';

/** How long a publisher uses what it read (ms): old readings only give lower ages. */
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

/** Unused objects, as one list for all repositories. */
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
 * Returns what is past its grace period for a publisher, see `expiredUpTo`. Asks the store only if its own
 * clock is not sufficient.
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
  // Nothing is kept for grace since the first flip. The process knows best what it has observed itself.
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
 * Returns the history of a pointer, with the readings of this process and of cleanings. A reading in the
 * pointer itself would have been taken before the flip.
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

/** Ignores damaged data: content is then only kept longer. */
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
