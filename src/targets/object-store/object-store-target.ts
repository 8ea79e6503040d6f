/**
 * An object store as a target. The steps are those of a directory (targets/directory/directory-target.ts),
 * adapted to a store:
 *
 *    5. read pointer and snapshot; apply the change, and render the next snapshot
 *    6. upload missing blobs and manifests
 *    8. upload the snapshot object, which must be new
 *    9, 10. flip: replace the pointer, if it did not change since step 5
 *   11. upload the redirect file
 *
 * A publisher that loses the race at step 10 starts again at step 5, and keeps its uploads.
 */
import { gunzipSync } from 'node:zlib';
import { DropdockError, fromPlainError } from '../../errors.js';
import type { Digest } from '../../image/digest.js';
import type { RepositoryId, Tag } from '../../image/names.js';
import {
  type CleanResult,
  type CurrentSnapshot,
  type DropOutcome,
  type Fetching,
  type HistoryEntry,
  type NeededContent,
  outcomeOfMerge,
  type PublishResult,
  type StagedDrop,
  type StartResult,
  type Target,
  type TargetChange,
  type TargetOverview,
  type VerifyFinding,
  type VerifyReport,
} from '../../publisher/target.js';
import { type FlipDetails, flipDetails } from '../../repository/flip-details.js';
import { flipKey } from '../../repository/grace.js';
import {
  type Change,
  type DropToMerge,
  type MergeOutcome,
  type RepositoryPolicy,
  rollbackOrder,
} from '../../repository/next-state.js';
import type { SnapshotText } from '../../repository/snapshot-file.js';
import type { Origin } from '../../repository/state.js';
import { type Timestamp, toTimestamp } from '../../repository/timestamp.js';
import { inTransaction, type TransactionNames } from '../../storage/transaction.js';
import { bringContent, eachOf } from './bring-content.js';
import {
  type BuiltObjects,
  buildObjects,
  checkStoreDrop,
  isEarlier,
  type NextObjects,
  redirectOf,
  storeBytes,
  tagsOf,
} from './build-objects.js';
import { cleanStore, isCleanDue, markCleaned, type StorePolicy } from './clean-store.js';
import { fetchContent } from './fetch-content.js';
import { flip } from './flip-pointer.js';
import { listIds, listSnapshotNames, readPointers, verifyStore } from './inspect-store.js';
import { type NeededObject, objectOf } from './needed-objects.js';
import { IMMUTABLE, manifestKey, snapshotKey } from './object-keys.js';
import { placeRedirect } from './place-redirect.js';
import { nextPointer, type Pointer, type PointerFlip } from './pointer.js';
import { abortOldUploads, probeStore } from './probe-store.js';
import { type Current, lostObject, readCurrent, readSnapshotText } from './read-current.js';
import { pause, withRetry } from './retry-request.js';
import { expiredFor } from './store-ages.js';
import type { StoreContext } from './store-context.js';

/** Races of one publish before its drops are retried later. */
const RACES_MAX = 100;
const SNAPSHOT_ATTRIBUTES = {
  contentType: 'application/json',
  cacheControl: IMMUTABLE,
  contentEncoding: 'gzip',
} as const;

export interface ObjectStoreTargetOptions {
  /** Opens the store; called each time, so that a store that was unavailable is opened later. */
  readonly open: () => Promise<StoreContext>;
  readonly name: string;
  /** The process id of this tree. */
  readonly owner: string;
  readonly uid: number;
  readonly transactions: TransactionNames;
  readonly policyOf: (id: RepositoryId) => StorePolicy;
  /** The longest grace period of all repositories. */
  readonly graceMs: () => number;
  /** Interval at which a daemon cleans the store (ms). */
  readonly cleanEveryMs: number;
  /** Called with the current snapshot after each publish. */
  readonly onPublished?: (id: RepositoryId, current: SnapshotText) => Promise<void>;
}

const COLUMNS = ['repository', 'tags', 'snapshot', 'flips', 'since'] as const;
/** Concurrent requests of one copy. */
const PARALLEL = 8;

export class ObjectStoreTarget implements Target {
  readonly #options: ObjectStoreTargetOptions;

  constructor(options: ObjectStoreTargetOptions) {
    this.#options = options;
  }

  get name(): string {
    return this.#options.name;
  }

  async repositories(): Promise<RepositoryId[]> {
    return listIds(await this.#options.open());
  }

  async current(id: RepositoryId): Promise<CurrentSnapshot | undefined> {
    const { store, memory, run } = await this.#options.open();
    const current = await readCurrent(store, memory, id);
    if (current === undefined) return undefined;
    const { repository, snapshot, base, removed = false } = current.pointer;
    const tags = await run(tagsOf, { source: current.base });
    return { repository, snapshot, base, removed, tags: tags as ReadonlyMap<Tag, Digest> };
  }

  async history(id: RepositoryId): Promise<HistoryEntry[]> {
    const context = await this.#options.open();
    const [pointer] = await readPointers(context, [id]);
    if (pointer === undefined) return [];
    const kept = await listSnapshotNames(context, id);
    return pointer.history
      .map((entry) => ({
        ...entry,
        kept: kept.has(entry.snapshot),
        current: entry.snapshot === pointer.snapshot,
      }))
      .reverse();
  }

  async overview(id?: RepositoryId): Promise<TargetOverview> {
    const pointers = await this.#pointersOf(id);
    const repositories = pointers.map(({ history, ...pointer }) => ({
      ...pointer,
      at: history.at(-1)?.at ?? pointer.snapshot,
    }));
    return { repositories, columns: COLUMNS };
  }

  /** Reads every object that the current snapshots need. */
  async verify(id?: RepositoryId): Promise<VerifyReport | undefined> {
    const context = await this.#options.open();
    const pointers = await this.#pointersOf(id);
    if (id !== undefined && pointers.length === 0) return undefined;
    const seen = new Set<string>();
    const findings: VerifyFinding[] = [];
    let files = 0;
    for (const pointer of pointers) {
      const checked = await verifyStore(context, pointer, seen);
      findings.push(...checked.findings);
      files += checked.files;
    }
    return { files, findings, unit: 'objects' };
  }

  async repair(): Promise<never> {
    const message = 'A store cannot be repaired in place; run dropdock copy from another target.';
    throw new DropdockError('usage.invalid', message);
  }

  async #pointersOf(id: RepositoryId | undefined): Promise<Pointer[]> {
    const context = await this.#options.open();
    return readPointers(context, id === undefined ? await listIds(context) : [id]);
  }

  /** Checks that the store supports conditional writes. A failing store delays nothing else. */
  async start(): Promise<StartResult> {
    const nothing = { recovered: [], notDone: [] };
    try {
      const context = await this.#options.open();
      await probeStore(context, this.#options.owner);
      return { ...nothing, uploads: await abortOldUploads(context) };
    } catch (error) {
      if (error instanceof DropdockError && error.code === 'target.unfit') throw error;
      return { ...nothing, away: error as Error };
    }
  }

  async clean({ dryRun }: { readonly dryRun: boolean }): Promise<CleanResult> {
    const { open, owner, policyOf, graceMs } = this.#options;
    const context = await open();
    const nonce = `${owner}-${context.nowMs()}`;
    const options = { policyOf, graceMs: graceMs(), dryRun, nonce };
    const { files, bytes, ...cleaned } = await cleanStore(context, options);
    return { ...cleaned, content: { files, bytes }, notDone: [], later: [] };
  }

  /** Every host that publishes to a store cleans it: the first one after the interval has passed. */
  async cleanIfDue(): Promise<CleanResult | undefined> {
    const { open, cleanEveryMs } = this.#options;
    const context = await open();
    if (!(await isCleanDue(context, cleanEveryMs))) return undefined;
    const cleaned = await this.clean({ dryRun: false });
    await markCleaned(context);
    return cleaned;
  }

  async currentText(id: RepositoryId): Promise<SnapshotText | undefined> {
    const { store, memory } = await this.#options.open();
    return (await readCurrent(store, memory, id))?.base;
  }

  /** Omits blobs that already exist; manifests are read anyway. */
  async lacking(needs: readonly NeededContent[]): Promise<readonly NeededContent[]> {
    const { store } = await this.#options.open();
    const present = new Set<NeededContent>();
    const blobs = needs.filter(({ mediaType }) => mediaType === undefined);
    await eachOf(blobs, PARALLEL, async (need) => {
      const { key, size, digest } = objectOf(need);
      const facts = await withRetry(() => store.head(key));
      if (facts?.size === size && facts.metadata.digest === digest) present.add(need);
    });
    return needs.filter((need) => !present.has(need));
  }

  async fetch(needs: readonly NeededContent[], how: Fetching): Promise<void> {
    const { open, uid } = this.#options;
    const context = await open();
    await fetchContent(context, needs.map(objectOf), { ...how, uid, run: context.run });
  }

  async send(needs: readonly NeededContent[]): Promise<void> {
    await bringContent(await this.#options.open(), needs.map(objectOf));
  }

  async check(policy: RepositoryPolicy, drop: DropToMerge): Promise<void> {
    const { store, memory, run } = await this.#options.open();
    const current = await readCurrent(store, memory, policy.id);
    const error = await run(checkStoreDrop, { policy, base: current?.base, drop });
    if (error) throw fromPlainError(error);
  }

  async publish(policy: RepositoryPolicy, change: TargetChange): Promise<PublishResult> {
    const { open, transactions, onPublished } = this.#options;
    const context = await open();
    const { roots, run } = context;
    const transaction = transactions.next();
    const result = await inTransaction(run, { roots, transaction }, () =>
      new StorePublish(context, policy, transaction).publish(change),
    );
    const current = context.memory.get(policy.id)?.base;
    if (current) await onPublished?.(policy.id, current);
    return result;
  }
}

/** One publish, with what it has checked and uploaded so far in all its races. */
class StorePublish {
  /** When each object was checked (monotonic): it is not checked again for `longest`. */
  readonly #checkedMs = new Map<string, number>();
  /** Snapshot names that are already used. */
  readonly #taken: Timestamp[] = [];

  constructor(
    readonly context: StoreContext,
    readonly policy: RepositoryPolicy,
    readonly transaction: string,
  ) {}

  /** Steps 5 to 11. @throws pivot.moved after too many races; any error before the flip */
  async publish(change: TargetChange): Promise<PublishResult> {
    const { context, policy } = this;
    for (let races = 0; races <= RACES_MAX; races++) {
      if (races > 0) await pause(Math.min(races, 5));
      const current = await readCurrent(context.store, context.memory, policy.id);
      const restored = await this.#restoredBy(change, current);
      const before = publishedBefore(change, current);
      const built = await this.#build(current, withoutPublished(change, before), restored);
      const { next } = built;
      const done = (snapshot: Timestamp | null, later: readonly Error[]): PublishResult => {
        const base = current?.pointer.snapshot ?? null;
        const { moves } = built;
        const outcomes = outcomesOf(change, before, built, snapshot, base);
        return { outcomes, snapshot, base, moves, to: restored?.snapshot, later, ...NOTHING_DONE };
      };
      if (next === undefined) return done(null, await this.#repairRedirect(current));
      await this.#bring(next.needs); // 6
      this.#taken.push(next.snapshot);
      const sinceMs = context.monotonicMs();
      if (!(await putSnapshot(context, policy, next))) continue; // 8
      await this.#bring(next.needs);
      // After this time a cleaning may have deleted the snapshot as unfinished, so the publish starts again.
      if (context.monotonicMs() - sinceMs > context.longestMs) continue;
      const details = flipDetails(change, next.reason, built.moves);
      const later = await this.#commit(current, next, details); // 9 to 11
      if (later !== 'moved') return done(next.snapshot, later);
    }
    const { target } = context.store;
    throw new DropdockError(
      'pivot.moved',
      `${policy.repository} changed in the target ${target} ${RACES_MAX} times during this publish.`,
      { target },
    );
  }

  async #bring(needs: readonly NeededObject[]): Promise<void> {
    const { monotonicMs, longestMs } = this.context;
    const nowMs = monotonicMs();
    const sinceMs = nowMs - longestMs;
    const stale = needs.filter(
      ({ key }) => (this.#checkedMs.get(key) ?? Number.NEGATIVE_INFINITY) < sinceMs,
    );
    await bringContent(this.context, stale);
    for (const { key } of stale) this.#checkedMs.set(key, nowMs);
  }

  /** Step 5. Fetches manifests that it needs and only the store has. */
  async #build(
    current: Current | undefined,
    change: Change,
    restored: SnapshotText | undefined,
  ): Promise<BuiltObjects> {
    const { context, policy, transaction } = this;
    const { roots, run, nowMs, store } = context;
    const base = current && { ...current.base, redirectHash: current.pointer.redirectHash };
    const expiredMs = await expiredFor(context, policy.graceMs, current?.pointer);
    const times = { nowMs: nowMs(), expiredMs };
    const taken = this.#taken;
    const request = { roots, policy, transaction, ...times, base, taken, change, restored };
    const built = await run(buildObjects, request);
    if (built.absent.length === 0) return built;
    await eachOf(built.absent, 8, async (digest: Digest) => {
      const key = manifestKey(digest);
      const found = await withRetry(() => store.get(key));
      if (found === undefined || found === 'same') throw lostObject(store.target, key);
      await run(storeBytes, { roots, transaction, digest, bytes: found.body });
    });
    return run(buildObjects, request);
  }

  /** @returns errors after the flip */
  async #commit(
    current: Current | undefined,
    next: NextObjects,
    details: FlipDetails,
  ): Promise<Error[] | 'moved'> {
    const { context, policy } = this;
    const { snapshot, reason, redirectHash, tags, redirect, packed } = next;
    const { repository, id } = policy;
    const removed = next.removed ? { removed: true as const } : {};
    const pointer = nextPointer(
      current?.pointer,
      { snapshot, at: toTimestamp(context.nowMs()), ...reason, ...details },
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

  /** Completes the work of a publisher that died after its flip. */
  async #repairRedirect(current: Current | undefined): Promise<Error[]> {
    if (current === undefined) return [];
    const { context, policy } = this;
    const { pointer, base } = current;
    const { memory, run } = context;
    if ((memory.redirects.get(policy.id)?.generation ?? -1) >= pointer.generation) return [];
    return attempt(async () => {
      const text = await run(redirectOf, { policy, base });
      await placeRedirect(context, policy.id, pointer.generation, text);
    });
  }

  /** Returns the snapshot that a rollback restores, as in a directory. @throws snapshot.unknown */
  async #restoredBy(
    change: TargetChange,
    current: Current | undefined,
  ): Promise<SnapshotText | undefined> {
    if (change.kind !== 'rollback' || current === undefined) return undefined;
    const { context, policy } = this;
    const { pointer, base } = current;
    const { to } = change;
    const flips = pointer.history.map(({ snapshot }) => snapshot);
    const order = rollbackOrder(flips, pointer.snapshot, pointer.base);
    for (const snapshot of to === undefined ? order : [to]) {
      const text = await readSnapshotText(context.store, policy.id, snapshot);
      if (text === undefined) continue;
      const earlier = { snapshot, text };
      if (to !== undefined || (await context.run(isEarlier, { policy, base, earlier }))) {
        return earlier;
      }
    }
    const { target } = context.store;
    throw new DropdockError(
      'snapshot.unknown',
      to === undefined
        ? `${policy.repository} has no earlier snapshot with other content in the target ${target}.`
        : `${policy.repository} has no snapshot ${to} in the target ${target}.`,
      { path: to ?? policy.id },
    );
  }
}

/** A directory does this in each publish, a store in its cleaning. */
const NOTHING_DONE = { removed: [], repaired: [] } as const;

type Before = ReadonlyMap<StagedDrop, PointerFlip>;

/** Returns drops that an earlier attempt published, as recorded in the pointer. */
function publishedBefore(change: TargetChange, current: Current | undefined): Before {
  const drops = change.kind === 'publish' ? change.drops : [];
  const history = current?.pointer.history ?? [];
  const flipOf = ({ drop, at }: Origin) =>
    history.find(({ drops: known }) => known.some((each) => each.drop === drop && each.at === at));
  return new Map(
    drops.flatMap((drop) => {
      const done = flipOf(drop.origin);
      return done ? [[drop, done] as const] : [];
    }),
  );
}

function withoutPublished(change: TargetChange, before: Before): Change {
  if (change.kind !== 'publish') return change;
  const left = change.drops.filter((drop) => !before.has(drop));
  return { ...change, drops: left.map(({ content, origin }) => ({ content, origin })) };
}

function outcomesOf(
  change: TargetChange,
  before: Before,
  { outcomes, leftOut }: BuiltObjects,
  snapshot: Timestamp | null,
  base: Timestamp | null,
): DropOutcome[] {
  if (change.kind !== 'publish') return [];
  const merged: MergeOutcome[] = [...outcomes];
  return change.drops.map((drop): DropOutcome => {
    const { content, ingested } = drop;
    const flipped = before.get(drop);
    if (flipped !== undefined) {
      // Changes made since then (a rollback, an untag) are kept: the drop is not published again.
      const { snapshot: own } = flipped;
      const known = { base: null, moves: [], leftOut: content.leftOut };
      return { status: 'published', snapshot: own, ...known, content, ingested };
    }
    return outcomeOfMerge(drop, merged.shift(), { snapshot, base, leftOut });
  });
}

/** @returns false if another publisher uses this name */
async function putSnapshot(
  { store, isSingleWriter }: StoreContext,
  { id }: RepositoryPolicy,
  { snapshot, packed }: NextObjects,
): Promise<boolean> {
  const key = snapshotKey(id, snapshot);
  const condition = isSingleWriter ? undefined : ({ absent: true } as const);
  let isRepeated = false;
  const { status } = await withRetry(async () => {
    const wasRepeated = isRepeated;
    isRepeated = true;
    const put = await store.put(key, packed, SNAPSHOT_ATTRIBUTES, condition);
    return { status: put.status === 'lost' && wasRepeated ? 'doubtful' : put.status };
  });
  if (status !== 'doubtful') return status === 'done';
  // It may have been written by the first attempt, whose response was lost.
  const found = await withRetry(() => store.get(key));
  return typeof found === 'object' && found.body.equals(gunzipSync(packed));
}

/** Errors after the flip do not fail the publish (I4). */
async function attempt(work: () => Promise<unknown>): Promise<Error[]> {
  try {
    await work();
    return [];
  } catch (error) {
    return [error as Error];
  }
}
