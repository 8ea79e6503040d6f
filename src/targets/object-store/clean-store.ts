/**
 * Deletes unused objects: marks the objects of all pointers and kept snapshots, then deletes old objects
 * without a mark. delete-unused.ts explains why this is safe for concurrent publishers.
 */
import { isDigest } from '../../image/digest.js';
import type { RepositoryId } from '../../image/names.js';
import { blobsNamedIn } from '../../image/references.js';
import type { CleanedRepository } from '../../publisher/target.js';
import { addSighting, ageIn, type Sighting, sight } from '../../repository/elapsed.js';
import { expiredUpTo, flipAges, unfinishedKey, worthNoting } from '../../repository/grace.js';
import { currencyFacts, judgeSnapshots, type SnapshotVerdict } from '../../repository/retention.js';
import type { Timestamp } from '../../repository/timestamp.js';
import { eachOf, readContent } from './bring-content.js';
import { objectsOf } from './build-objects.js';
import { announceDeletion, LIST_MS_MAX, sweepAgeMs } from './delete-unused.js';
import type { NeededObject } from './needed-objects.js';
import {
  BLOBS,
  blobKey,
  CLEANED_KEY,
  FRESH,
  MANIFESTS,
  parseRepositoryKey,
  REPOSITORIES,
  snapshotKey,
  UNUSED_KEY,
} from './object-keys.js';
import type { Pointer } from './pointer.js';
import { abortOldUploads } from './probe-store.js';
import { lostObject, readPointer, readSnapshotText, type StoreAges } from './read-current.js';
import { withRetry } from './retry-request.js';
import { historyOf, readAges, readSightings, writeAges, writeSighting } from './store-ages.js';
import type { StoreContext } from './store-context.js';

const PARALLEL = 8;
/** Objects in one deletion list and one delete request. */
const CHUNK = 1000;

export interface StorePolicy {
  readonly keep: number;
  readonly graceMs: number;
}

export interface CleanStoreOptions {
  readonly policyOf: (id: RepositoryId) => StorePolicy;
  /** The longest grace period of all repositories. */
  readonly graceMs: number;
  readonly dryRun: boolean;
  /** Unique for this cleaning. */
  readonly nonce: string;
}

export interface CleanedStore {
  readonly repositories: readonly CleanedRepository[];
  /** Blobs and manifests that were deleted, or would be. */
  readonly files: number;
  readonly bytes: number;
  /** Incomplete multipart uploads. */
  readonly uploads: number;
  /** Why it ended early; the next cleaning continues. */
  readonly stopped: string | undefined;
}

interface Listed {
  readonly id: RepositoryId;
  hasPointer: boolean;
  /** The age (ms) of each snapshot by the store's clock. */
  readonly snapshots: Map<Timestamp, number>;
}

/** @throws target.damaged if a kept object cannot be read; then nothing was deleted */
export async function cleanStore(
  context: StoreContext,
  options: CleanStoreOptions,
): Promise<CleanedStore> {
  const cleaned = await cleanOnce(context, options);
  if (cleaned !== 'learnt') return cleaned;
  const again = await cleanOnce(context, options);
  if (again !== 'learnt') return again;
  return { repositories: [], files: 0, bytes: 0, uploads: 0, stopped: 'it took too long' };
}

/** @returns 'learnt' if reading manifests took all of its time; they need not be read again */
async function cleanOnce(
  context: StoreContext,
  options: CleanStoreOptions,
): Promise<CleanedStore | 'learnt'> {
  const { store, longestMs, monotonicMs } = context;
  const { dryRun, graceMs } = options;
  const startedMs = monotonicMs();
  const isLate = () => monotonicMs() - startedMs > longestMs;
  const ageMs = sweepAgeMs({ graceMs, longestMs });
  const marked: Marked = { keys: new Set(), unsure: new Map() };
  const repositories: CleanedRepository[] = [];
  const ages = new Map(await readAges(context));
  await eachOf(await listRepositories(context), PARALLEL, async (listed) => {
    const { snapshots, expiredMs, note } = await judge(context, listed, ages, options);
    await mark(context, listed, expiredMs, snapshots, marked);
    repositories.push({ id: listed.id, snapshots });
    if (note) ages.set(listed.id, addSighting(ages.get(listed.id) ?? [], note));
  });
  const there = new Set(repositories.map(({ id }) => id));
  for (const id of ages.keys()) if (!there.has(id)) ages.delete(id);
  const sightings = await readSightings(context, UNUSED_KEY);
  const found = await findUnused(context, marked.keys, ageMs);
  const seen = found.filter((each) => each.isOld && isSeenLongAgo(context, sightings, each));
  if (!dryRun) {
    await writeAges(context, ages);
    const keys = found.map(unusedKey);
    await writeSighting(context, UNUSED_KEY, sightings, sight(sightings, keys, context.clock()));
  }
  const { unused, learnt } = await withoutReferred(context, marked, seen);
  if (isLate() && learnt > 0 && !dryRun) return 'learnt';
  const nothing = { files: 0, bytes: 0 };
  if (dryRun) {
    const bytes = unused.reduce((sum, { size }) => sum + size, 0);
    return { repositories, files: unused.length, bytes, uploads: 0, stopped: undefined };
  }
  if (isLate()) return { repositories, ...nothing, uploads: 0, stopped: 'it took too long' };
  const stale = repositories.flatMap(({ id, snapshots }) =>
    snapshots.filter(({ remove }) => remove).map(({ name }) => snapshotKey(id, name)),
  );
  for (let at = 0; at < stale.length; at += CHUNK) {
    await withRetry(() => store.remove(stale.slice(at, at + CHUNK)));
  }
  const uploads = await abortOldUploads(context);
  const counts = { ...nothing };
  for (let at = 0; at < unused.length; at += CHUNK) {
    const chunk = unused.slice(at, at + CHUNK);
    const nonce = `${options.nonce}-${at}`;
    const deleted = isLate() ? undefined : await deleteChunk(context, nonce, chunk, ageMs);
    if (deleted === undefined) {
      const stopped = isLate() ? 'it took too long' : 'another cleaning is running';
      return { repositories, ...counts, uploads, stopped };
    }
    counts.files += deleted.length;
    counts.bytes += deleted.reduce((sum, { size }) => sum + size, 0);
  }
  return { repositories, ...counts, uploads, stopped: undefined };
}

/**
 * Returns whether a cleaning is due, counting those of other hosts.
 * @param everyMs interval between two cleanings
 */
export async function isCleanDue({ store }: StoreContext, everyMs: number): Promise<boolean> {
  const last = await withRetry(() => store.head(CLEANED_KEY));
  return last?.storeMs === undefined || last.storeMs - last.modifiedMs >= everyMs;
}

export async function markCleaned({ store }: StoreContext): Promise<void> {
  const attributes = { contentType: 'text/plain', cacheControl: FRESH };
  await withRetry(() => store.put(CLEANED_KEY, Buffer.alloc(0), attributes));
}

async function listRepositories({ store }: StoreContext): Promise<Listed[]> {
  const all = new Map<RepositoryId, Listed>();
  for await (const { objects, storeMs } of store.list(REPOSITORIES)) {
    for (const { key, modifiedMs } of objects) {
      const parsed = parseRepositoryKey(key);
      if (parsed === undefined) continue;
      const { id, snapshot } = parsed;
      const listed = all.get(id) ?? { id, hasPointer: false, snapshots: new Map() };
      all.set(id, listed);
      if (snapshot === undefined) listed.hasPointer = true;
      // Without a time from the store nothing counts as old.
      else listed.snapshots.set(snapshot, (storeMs ?? modifiedMs) - modifiedMs);
    }
  }
  return [...all.values()];
}

interface Judged {
  readonly snapshots: readonly SnapshotVerdict[];
  /** Content kept for grace since this flip (ms) or earlier is past its grace period; see grace.ts. */
  readonly expiredMs: number;
  /** The reading to save, so that ages grow no matter which host cleans next. */
  readonly note: Sighting | undefined;
}

/** A pointer may have changed since the listing; it then refers to a snapshot newer than all listed ones. */
async function judge(
  context: StoreContext,
  { id, snapshots, hasPointer }: Listed,
  ages: StoreAges,
  { policyOf, graceMs: longestGraceMs }: CleanStoreOptions,
): Promise<Judged> {
  const { store, nowMs, longestMs } = context;
  const found = hasPointer ? await readPointer(store, id) : undefined;
  // Read after the pointer, so that the time since its last flip is not underestimated.
  const now = context.clock();
  const pointer: Pointer | undefined = typeof found === 'object' ? found.pointer : undefined;
  const names = [...snapshots.keys()];
  const current = pointer?.snapshot ?? null;
  const history = historyOf(context, pointer, ages);
  const { flips, sightings } = history;
  const facts = currencyFacts(
    current === null || names.includes(current) ? names : [...names, current],
    current,
    flips,
    cutOff(pointer, names),
  );
  const { keep, graceMs } = policyOf(id);
  const unfinishedMs = sweepAgeMs({ graceMs: longestGraceMs, longestMs });
  const known = flipAges(flips, sightings, now);
  const past = facts.filter(({ isCurrent }) => !isCurrent);
  const waiting = {
    waiting: past.flatMap(({ endedBy }) => endedBy ?? []),
    unfinished: past.filter(({ endedBy }) => endedBy === undefined).map(({ name }) => name),
  };
  const policy = { keep, graceMs };
  return {
    snapshots: judgeSnapshots(facts, policy, {
      flips: known,
      unfinished: (name) => ageIn(sightings, unfinishedKey(name), now) ?? 0,
      nowMs: nowMs(),
    }).map((verdict) =>
      verdict.rule === 'unfinished'
        ? { name: verdict.name, rule: verdict.rule, remove: isLeft(verdict.name) }
        : verdict,
    ),
    expiredMs: expiredUpTo(flips, known, graceMs),
    note: worthNoting(history, waiting, { now, graceMs }),
  };

  /**
   * Old by the store's clock, and by our clock since a cleaning first saw it: no publisher takes that long.
   */
  function isLeft(name: Timestamp): boolean {
    const seenMs = ageIn(sightings, unfinishedKey(name), now) ?? 0;
    return (snapshots.get(name) ?? 0) >= unfinishedMs && seenMs >= 3 * longestMs;
  }
}

/**
 * A pointer contains only its newest flips. Older snapshots were current before the first of them, or never.
 */
function cutOff(
  pointer: Pointer | undefined,
  names: readonly Timestamp[],
): Map<Timestamp, Timestamp> {
  const [first] = pointer?.history ?? [];
  if (pointer === undefined || first === undefined) return new Map();
  if (pointer.generation <= pointer.history.length) return new Map();
  return new Map(
    names.filter((name) => name < first.snapshot).map((name) => [name, first.snapshot] as const),
  );
}

interface Marked {
  /** Marks of all objects in use. */
  readonly keys: Set<number>;
  /** Manifests whose snapshot may not list all blobs in their bytes. */
  readonly unsure: Map<string, NeededObject>;
}

/** Snapshots that never were current are skipped: a publisher keeps the objects they need young. */
async function mark(
  { store, run, memory }: StoreContext,
  { id }: Listed,
  expiredMs: number,
  verdicts: readonly SnapshotVerdict[],
  marked: Marked,
): Promise<void> {
  for (const { name, rule, remove } of verdicts) {
    if (remove || rule === 'unfinished') continue;
    const text = await readSnapshotText(store, id, name);
    const key = snapshotKey(id, name);
    if (text === undefined) throw lostObject(store.target, key);
    for (const each of await run(objectsOf, { text, where: key, expiredMs })) {
      const mark = markOf(each.key);
      marked.keys.add(mark);
      const isSure = each.blobs === undefined || memory.references.get(mark) === each.blobs;
      if (!isSure) marked.unsure.set(each.key, each);
    }
  }
}

/**
 * 49 bits of a digest, so that ten million fit into memory. A collision only keeps one more object.
 */
function markOf(key: string): number {
  const hex = key.slice(key.indexOf(':') + 1).slice(0, 12);
  return Number.parseInt(hex, 16) * 2 + Number(key.startsWith(MANIFESTS));
}

/** Concurrent reads of manifests, which are small. */
const MANIFESTS_PARALLEL = 32;
/** Limits the memory to 30 MiB; manifests above the limit are read again. */
const REFERENCES_MAX = 500_000;

/**
 * Removes objects from the unused ones if the bytes of a kept manifest refer to them, even if its snapshot
 * does not list them: the record may be wrong (an older version trusted descriptors), and deleted content is
 * lost. This process reads each manifest once, from the content store if possible, and only if there is
 * something to delete.
 * @returns how many manifests were read for the first time
 */
async function withoutReferred(
  { store, roots, memory }: StoreContext,
  { unsure }: Marked,
  unused: readonly Unused[],
): Promise<{ unused: Unused[]; learnt: number }> {
  const left = new Map(unused.map((each) => [each.key, each]));
  let learnt = 0;
  if (!unused.some(({ key }) => key.startsWith(BLOBS))) return { unused: [...unused], learnt };
  await eachOf([...unsure.values()], MANIFESTS_PARALLEL, async ({ key, digest, size }) => {
    const here = await readContent(roots, digest, size);
    const found = here ?? (await withRetry(() => store.get(key)));
    // A lost manifest refers to nothing any more; `verify` reports it.
    if (found === undefined || found === 'same') return;
    const named = blobsNamedIn('body' in found ? found.body : found);
    for (const blob of named) left.delete(blobKey(blob));
    if (memory.references.size >= REFERENCES_MAX) memory.references.clear();
    if (!memory.references.has(markOf(key))) learnt++;
    memory.references.set(markOf(key), named.length);
  });
  return { unused: [...left.values()], learnt };
}

interface Unused {
  readonly key: string;
  readonly size: number;
  /** By the store's clock. */
  readonly modifiedMs: number;
  /** Old enough to be deleted, by the store's clock. */
  readonly isOld: boolean;
}

/** Identifies an unused object in a sighting; after a touch it has another key. HEAD returns only seconds. */
function unusedKey({ key, modifiedMs }: Unused): string {
  const kind = key.startsWith(MANIFESTS) ? 'm' : 'b';
  const hex = key.slice(key.indexOf(':') + 1).slice(0, 32);
  return `${kind}${hex}/${Math.floor(modifiedMs / 1000)}`;
}

/**
 * Returns whether a cleaning saw the unchanged object unused so long ago that no publisher relies on it. The
 * store's clock alone is not enough: it may have been set since a publisher checked the object.
 */
function isSeenLongAgo(
  { clock, longestMs }: StoreContext,
  sightings: readonly Sighting[],
  object: Unused,
): boolean {
  return (ageIn(sightings, unusedKey(object), clock()) ?? -1) >= 3 * longestMs;
}

async function findUnused(
  { store }: StoreContext,
  marked: ReadonlySet<number>,
  ageMs: number,
): Promise<Unused[]> {
  const unused: Unused[] = [];
  for (const prefix of [BLOBS, MANIFESTS]) {
    for await (const { objects, storeMs } of store.list(prefix)) {
      for (const { key, size, modifiedMs } of objects) {
        if (!isDigest(key.slice(prefix.length)) || marked.has(markOf(key))) continue;
        const isOld = storeMs !== undefined && storeMs - modifiedMs >= ageMs;
        unused.push({ key, size, modifiedMs, isOld });
      }
    }
  }
  return unused;
}

/** @returns the deleted objects; undefined if another cleaning is deleting */
async function deleteChunk(
  context: StoreContext,
  nonce: string,
  chunk: readonly Unused[],
  ageMs: number,
): Promise<Unused[] | undefined> {
  const { store, monotonicMs } = context;
  const startedMs = monotonicMs();
  const keys = chunk.map(({ key }) => key);
  const done = await announceDeletion(context, nonce, keys);
  if (done === undefined) return undefined;
  try {
    const old: Unused[] = [];
    await eachOf(chunk, PARALLEL, async (each) => {
      const facts = await withRetry(() => store.head(each.key));
      if (facts?.storeMs === undefined) return;
      // A publisher may have touched it since it was listed.
      const isSame = unusedKey({ ...each, modifiedMs: facts.modifiedMs }) === unusedKey(each);
      if (isSame && facts.storeMs - facts.modifiedMs >= ageMs) old.push(each);
    });
    if (monotonicMs() - startedMs > LIST_MS_MAX / 2) return [];
    await store.remove(old.map(({ key }) => key));
    return old;
  } finally {
    await done();
  }
}
