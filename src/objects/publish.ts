/**
 * One repository's turn on an object store. The drops are in the content store already (steps 1 to 4
 * of publish.ts); what follows has the order of a directory's publish, with the store's means:
 *
 *    5. read pointer and snapshot; merge, and render the next snapshot
 *    6. put what the store lacks: blobs and manifests
 *    8. put the snapshot object, which must be new
 *    9, 10. flip: replace the pointer, on condition that it is what step 5 read
 *   11. put the redirect file
 *
 * Whoever loses the race at step 10 begins again at 5, with what he has put already.
 */
import { gunzipSync } from 'node:zlib';
import { DropdockError } from '../errors.js';
import type { Digest } from '../image/digest.js';
import type { LeftOut } from '../image/staged-content.js';
import type { BuildRequest, MergeOutcome } from '../publish/build.js';
import { flipKey } from '../publish/grace.js';
import type { RepositoryPolicy } from '../publish/next-snapshot.js';
import type { TagMove } from '../snapshot/merge.js';
import { type Timestamp, toTimestamp } from '../snapshot/timestamp.js';
import { expiredFor } from './ages.js';
import type { BuildObjectsRequest, BuiltObjects, NextObjects } from './build.js';
import { bringContent, eachOf } from './content.js';
import type { StoreContext } from './context.js';
import { type Current, lostObject, readCurrent } from './current.js';
import { flip } from './flip.js';
import { IMMUTABLE, manifestKey, snapshotKey } from './layout.js';
import type { NeededObject } from './needed.js';
import { patiently, pause } from './patience.js';
import { nextPointer } from './pointer.js';
import { placeRedirect } from './redirect.js';

export type DropsToMerge = BuildRequest['drops'];
export type Change = BuildObjectsRequest['change'];

export interface StoreTurn {
  readonly context: StoreContext;
  readonly policy: RepositoryPolicy;
  /** A directory under work/ that is the caller's. */
  readonly transaction: string;
}

export interface StoreResult {
  /** In the order of the drops. */
  readonly outcomes: readonly MergeOutcome[];
  readonly moves: readonly TagMove[];
  readonly leftOut: readonly LeftOut[];
  /** What is current now; null when nothing ever was. */
  readonly snapshot: Timestamp | null;
  readonly base: Timestamp | null;
  /** False when clients see no difference. */
  readonly changed: boolean;
  /** How often another publisher was faster. */
  readonly races: number;
  /** What could not be done after the flip; the next visit does it. */
  readonly later: readonly Error[];
}

/** Races that one turn runs before its drops are tried again later. */
const RACES_MAX = 100;
const SNAPSHOT_ATTRIBUTES = {
  contentType: 'application/json',
  cacheControl: IMMUTABLE,
  contentEncoding: 'gzip',
} as const;

/**
 * Steps 5 to 11.
 * @param changeOf what is to be done to what is current; asked again after a lost race
 * @throws pivot.moved after too many races, target.failed, content and system errors: before the flip
 */
export async function changeStore(
  turn: StoreTurn,
  changeOf: (current: Current | undefined) => Change | Promise<Change>,
): Promise<StoreResult> {
  const { context, policy } = turn;
  const content = new CheckedContent(context);
  const taken: Timestamp[] = [];
  for (let races = 0; races <= RACES_MAX; races++) {
    if (races > 0) await pause(Math.min(races, 5));
    const current = await readCurrent(context.store, context.memory, policy.id);
    const built = await build(turn, current, await changeOf(current), taken);
    const { outcomes, moves, leftOut, next } = built;
    const base = current?.pointer.snapshot ?? null;
    const result = { outcomes, moves, leftOut, base, races };
    if (next === undefined) {
      const later = await mendRedirect(turn, current);
      return { ...result, snapshot: base, changed: false, later };
    }
    await content.bring(next.needs); // 6
    taken.push(next.snapshot);
    const sinceMs = context.monotonicMs();
    if (!(await putSnapshot(context, policy, next))) continue; // 8
    await content.bring(next.needs);
    // So late a cleaning may have taken it for left behind: it begins anew.
    if (context.monotonicMs() - sinceMs > context.longestMs) continue;
    const later = await commit(turn, current, next); // 9 to 11
    if (later !== 'moved') return { ...result, snapshot: next.snapshot, changed: true, later };
  }
  throw new DropdockError(
    'pivot.moved',
    `${policy.repository} moved in the target ${context.store.target} ${RACES_MAX} times meanwhile.`,
    { target: context.store.target },
  );
}

/** What was seen in the store, and when: for `longest` it need not be looked at again. */
class CheckedContent {
  readonly #context: StoreContext;
  readonly #checkedMs = new Map<string, number>();

  constructor(context: StoreContext) {
    this.#context = context;
  }

  async bring(needs: readonly NeededObject[]): Promise<void> {
    const { monotonicMs, longestMs } = this.#context;
    const sinceMs = monotonicMs() - longestMs;
    const stale = needs.filter(
      ({ key }) => (this.#checkedMs.get(key) ?? Number.NEGATIVE_INFINITY) < sinceMs,
    );
    const nowMs = monotonicMs();
    await bringContent(this.#context, stale);
    for (const { key } of stale) this.#checkedMs.set(key, nowMs);
  }
}

/** Step 5, with what it needs and only the store has. */
async function build(
  { context, policy, transaction }: StoreTurn,
  current: Current | undefined,
  change: Change,
  taken: readonly Timestamp[],
): Promise<BuiltObjects> {
  const { roots, run, nowMs, store } = context;
  const base = current && { ...current.base, redirectHash: current.pointer.redirectHash };
  const expiredMs = await expiredFor(context, policy.graceMs, current?.pointer);
  const times = { nowMs: nowMs(), expiredMs };
  const request = { roots, policy, transaction, ...times, base, taken, change };
  const built = await run('buildObjects', request);
  if (built.absent.length === 0) return built;
  await eachOf(built.absent, 8, async (digest: Digest) => {
    const found = await patiently(() => store.get(manifestKey(digest)));
    if (found === undefined || found === 'same')
      throw lostObject(store.target, manifestKey(digest));
    await run('storeBytes', { roots, transaction, digest, bytes: found.body });
  });
  return run('buildObjects', request);
}

/** @returns false when another publisher has this name */
async function putSnapshot(
  { store, isSingleWriter }: StoreContext,
  { id }: RepositoryPolicy,
  { snapshot, packed }: NextObjects,
): Promise<boolean> {
  const key = snapshotKey(id, snapshot);
  const condition = isSingleWriter ? undefined : ({ absent: true } as const);
  let isRepeated = false;
  const { status } = await patiently(async () => {
    const wasRepeated = isRepeated;
    isRepeated = true;
    const put = await store.put(key, packed, SNAPSHOT_ATTRIBUTES, condition);
    return { status: put.status === 'lost' && wasRepeated ? 'doubtful' : put.status };
  });
  if (status !== 'doubtful') return status === 'done';
  // Perhaps it was our own first try, whose answer was lost.
  const found = await patiently(() => store.get(key));
  return typeof found === 'object' && found.body.equals(gunzipSync(packed));
}

/** @returns what could not be done after the flip */
async function commit(
  { context, policy }: StoreTurn,
  current: Current | undefined,
  next: NextObjects,
): Promise<Error[] | 'moved'> {
  const { snapshot, reason, redirectHash, tags, redirect, packed } = next;
  const { repository, id } = policy;
  const removed = next.removed ? { removed: true as const } : {};
  const pointer = nextPointer(
    current?.pointer,
    { snapshot, at: toTimestamp(context.nowMs()), ...reason },
    { repository, id, redirectHash, tags, ...removed },
  );
  const flipped = await flip(context, pointer, current?.etag);
  if (flipped === 'moved') return 'moved';
  const [done] = pointer.history.slice(-1);
  if (done) context.memory.flips.add(id, flipKey(done), context.clock());
  const { etag } = flipped;
  if (etag !== undefined) {
    context.memory.set(id, { etag, pointer, base: { snapshot, text: gunzipSync(packed) } });
  }
  return attempt(() => placeRedirect(context, id, pointer.generation, redirect));
}

/** For what a publisher that died after its flip has left undone. */
async function mendRedirect(
  { context, policy }: StoreTurn,
  current: Current | undefined,
): Promise<Error[]> {
  if (current === undefined) return [];
  const { pointer, base } = current;
  const { memory, run } = context;
  if ((memory.redirects.get(policy.id)?.generation ?? -1) >= pointer.generation) return [];
  return attempt(async () => {
    const text = await run('redirectOf', { policy, base });
    await placeRedirect(context, policy.id, pointer.generation, text);
  });
}

/** After the flip nothing fails the publish (I4). */
async function attempt(work: () => Promise<unknown>): Promise<Error[]> {
  try {
    await work();
    return [];
  } catch (error) {
    return [error as Error];
  }
}
