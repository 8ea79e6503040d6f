/**
 * Removes what nothing needs any more: marks from all pointers and the snapshots that stay, then
 * deletes what is not marked and old enough. Why no publisher is hurt by it stands in deleting.ts.
 */
import { isDigest } from '../image/digest.js';
import type { RepositoryId } from '../image/names.js';
import { blobsNamedIn } from '../image/references.js';
import { currencyFacts, judgeSnapshots, type SnapshotVerdict } from '../publish/retention.js';
import type { Timestamp } from '../snapshot/timestamp.js';
import { eachOf, readContent } from './content.js';
import type { StoreContext } from './context.js';
import { lostObject, readPointer, readSnapshotText } from './current.js';
import { announceDeletion, LIST_MS_MAX, sweepAgeMs } from './deleting.js';
import {
  BLOBS,
  blobKey,
  MANIFESTS,
  parseRepositoryKey,
  REPOSITORIES,
  snapshotKey,
} from './layout.js';
import type { NeededObject } from './needed.js';
import { patiently } from './patience.js';
import type { Pointer } from './pointer.js';
import { abortOldUploads } from './probe.js';

const PARALLEL = 8;
/** Named in one list and deleted with one request. */
const CHUNK = 1000;

export interface StorePolicy {
  readonly keep: number;
  readonly graceMs: number;
}

export interface CleanStoreOptions {
  readonly policyOf: (id: RepositoryId) => StorePolicy;
  /** The longest grace period of all. */
  readonly graceMs: number;
  readonly dryRun: boolean;
  /** Tells this cleaning from every other. */
  readonly nonce: string;
}

export interface CleanedStore {
  readonly repositories: readonly {
    readonly id: RepositoryId;
    readonly snapshots: readonly SnapshotVerdict[];
  }[];
  /** Blobs and manifests that went, or would. */
  readonly files: number;
  readonly bytes: number;
  /** Uploads in parts that were left unfinished. */
  readonly uploads: number;
  /** Why it ended early; it goes on another time. */
  readonly stopped: string | undefined;
}

interface Listed {
  readonly id: RepositoryId;
  hasPointer: boolean;
  /** With the age (ms) of each, by the store's clock. */
  readonly snapshots: Map<Timestamp, number>;
}

/** @throws target.damaged when something that stays cannot be read: then nothing was deleted */
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

/** @returns 'learnt' when reading manifests took all of its time: they need not be read again */
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
  const repositories: { id: RepositoryId; snapshots: SnapshotVerdict[] }[] = [];
  await eachOf(await listRepositories(context), PARALLEL, async (listed) => {
    const snapshots = await judge(context, listed, options);
    await mark(context, listed, options.policyOf(listed.id), snapshots, marked);
    repositories.push({ id: listed.id, snapshots });
  });
  const unmarked = await findUnused(context, marked.keys, ageMs);
  const { unused, learnt } = await withoutReferred(context, marked, unmarked);
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
    await patiently(() => store.remove(stale.slice(at, at + CHUNK)));
  }
  const uploads = await abortOldUploads(context);
  const counts = { ...nothing };
  for (let at = 0; at < unused.length; at += CHUNK) {
    const chunk = unused.slice(at, at + CHUNK);
    const nonce = `${options.nonce}-${at}`;
    const deleted = isLate() ? undefined : await deleteChunk(context, nonce, chunk, ageMs);
    if (deleted === undefined) {
      const stopped = isLate() ? 'it took too long' : 'another cleaning is at work';
      return { repositories, ...counts, uploads, stopped };
    }
    counts.files += deleted.length;
    counts.bytes += deleted.reduce((sum, { size }) => sum + size, 0);
  }
  return { repositories, ...counts, uploads, stopped: undefined };
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
      // Where the store tells no time nothing is old.
      else listed.snapshots.set(snapshot, (storeMs ?? modifiedMs) - modifiedMs);
    }
  }
  return [...all.values()];
}

/** A pointer may have moved on since the listing; what it names by now is newer than all listed. */
async function judge(
  { store, nowMs, longestMs }: StoreContext,
  { id, snapshots, hasPointer }: Listed,
  { policyOf, graceMs }: CleanStoreOptions,
): Promise<SnapshotVerdict[]> {
  const found = hasPointer ? await readPointer(store, id) : undefined;
  const pointer: Pointer | undefined = typeof found === 'object' ? found.pointer : undefined;
  const names = [...snapshots.keys()];
  const current = pointer?.snapshot ?? null;
  const history = pointer?.history ?? [];
  const facts = currencyFacts(
    current === null || names.includes(current) ? names : [...names, current],
    current,
    history,
    new Map(),
  );
  const unfinishedMs = sweepAgeMs({ graceMs, longestMs });
  return judgeSnapshots(facts, { ...policyOf(id), nowMs: nowMs() }).map((verdict) =>
    verdict.rule === 'unfinished'
      ? { name: verdict.name, rule: verdict.rule, remove: ageOf(verdict.name) >= unfinishedMs }
      : verdict,
  );

  function ageOf(name: Timestamp): number {
    return snapshots.get(name) ?? 0;
  }
}

interface Marked {
  /** Of all objects that are needed. */
  readonly keys: Set<number>;
  /** Manifests of which it is not known that their snapshot has all blobs that their bytes name. */
  readonly unsure: Map<string, NeededObject>;
}

/** What a snapshot that never was current needs is young, or was made so. */
async function mark(
  { store, run, memory, nowMs, longestMs }: StoreContext,
  { id }: Listed,
  { graceMs }: StorePolicy,
  verdicts: readonly SnapshotVerdict[],
  marked: Marked,
): Promise<void> {
  // Publishers' clocks may be before ours.
  const carriedSinceMs = nowMs() - graceMs - longestMs;
  for (const { name, rule, remove } of verdicts) {
    if (remove || rule === 'unfinished') continue;
    const text = await readSnapshotText(store, id, name);
    const key = snapshotKey(id, name);
    if (text === undefined) throw lostObject(store.target, key);
    for (const each of await run('objectsOf', { text, where: key, carriedSinceMs })) {
      const mark = markOf(each.key);
      marked.keys.add(mark);
      const isSure = each.blobs === undefined || memory.references.get(mark) === each.blobs;
      if (!isSure) marked.unsure.set(each.key, each);
    }
  }
}

/**
 * 49 bits of a digest: ten million of them fit into memory, and two that are the same only keep one
 * more object.
 */
function markOf(key: string): number {
  const hex = key.slice(key.indexOf(':') + 1).slice(0, 12);
  return Number.parseInt(hex, 16) * 2 + Number(key.startsWith(MANIFESTS));
}

/** Small objects, so many at a time. */
const MANIFESTS_PARALLEL = 32;
/** 30 MiB of memory; when there are more, they are read again. */
const REFERENCES_MAX = 500_000;

/**
 * Takes out what the bytes of a kept manifest name, also where its snapshot does not have it: what was
 * written down of a manifest may be wrong (an older version believed whatever announced it), and what is
 * deleted cannot be had again. Each manifest is read once by this process, from the content store where
 * that has it, and only when something is to be deleted.
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
    const found = here ?? (await patiently(() => store.get(key)));
    // One that is lost names nothing any more; `verify` tells of it.
    if (found === undefined || found === 'same') return;
    const named = blobsNamedIn('body' in found ? found.body : found);
    for (const blob of named) left.delete(blobKey(blob));
    if (memory.references.size >= REFERENCES_MAX) memory.references.clear();
    if (!memory.references.has(markOf(key))) learnt++;
    memory.references.set(markOf(key), named.length);
  });
  return { unused: [...left.values()], learnt };
}

type Unused = { readonly key: string; readonly size: number };

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
        if (storeMs !== undefined && storeMs - modifiedMs >= ageMs) unused.push({ key, size });
      }
    }
  }
  return unused;
}

/** @returns what went; undefined when another cleaning is at it */
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
      const facts = await patiently(() => store.head(each.key));
      if (facts?.storeMs === undefined) return;
      // A publisher may have made it new since it was listed.
      if (facts.storeMs - facts.modifiedMs >= ageMs) old.push(each);
    });
    if (monotonicMs() - startedMs > LIST_MS_MAX / 2) return [];
    await store.remove(old.map(({ key }) => key));
    return old;
  } finally {
    await done();
  }
}
