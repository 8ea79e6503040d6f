/** Reads the current pointer and snapshot of a store, cached by their ETags. */
import { LRUCache } from 'lru-cache';
import { DropdockError } from '../../errors.js';
import type { RepositoryId } from '../../image/names.js';
import type { ClockReading, Sighting } from '../../repository/elapsed.js';
import type { SnapshotText } from '../../repository/snapshot-file.js';
import { pointerKey, snapshotKey } from './object-keys.js';
import type { ObjectStore } from './object-store.js';
import { FLIPS_KEPT, type Pointer, parsePointer } from './pointer.js';
import { withRetry } from './retry-request.js';

/** Memory for cached pointers and snapshots. */
const MEMORY_BYTES = 64 * 1024 * 1024;

export interface Current {
  /** ETag of the pointer. */
  readonly etag: string;
  readonly pointer: Pointer;
  readonly base: SnapshotText;
}

/** The readings of cleanings for each repository, as in the history of a tree. */
export type StoreAges = ReadonlyMap<RepositoryId, readonly Sighting[]>;

/** One per target. Only a cache: the store confirms each entry by its ETag. */
export class StoreMemory {
  readonly #current = new LRUCache<RepositoryId, Current>({
    maxSize: MEMORY_BYTES,
    sizeCalculation: ({ base }) => Math.max(1, base.text.length),
  });
  /** ETag and generation of the redirect file that this process wrote. */
  readonly redirects = new Map<RepositoryId, { readonly etag: string; generation: number }>();
  /** Number of blobs that a manifest's bytes refer to, by the mark of its key (see clean-store.ts). */
  readonly references = new Map<number, number>();
  /** The store compares If-Match with ETags without quotes (Ceph's gateway). */
  stripsQuotes = false;
  /** When this process completed its own flips, by their keys; see store-ages.ts. */
  readonly flips = new FlipMemory();
  /** Ages known to cleanings, and when they were read (monotonic clock). */
  ages: { readonly ages: StoreAges; readonly readMs: number } | undefined;

  get(id: RepositoryId): Current | undefined {
    return this.#current.get(id);
  }

  set(id: RepositoryId, current: Current): void {
    this.#current.set(id, current);
  }
}

/** The newest flips of each repository by this process, with its clock after each. */
class FlipMemory {
  readonly #seen = new Map<RepositoryId, Map<string, ClockReading>>();

  add(id: RepositoryId, key: string, reading: ClockReading): void {
    const seen = this.#seen.get(id) ?? new Map<string, ClockReading>();
    this.#seen.set(id, seen);
    seen.set(key, reading);
    const [oldest] = seen.keys();
    if (seen.size > FLIPS_KEPT && oldest !== undefined) seen.delete(oldest);
  }

  get(id: RepositoryId, key: string): ClockReading | undefined {
    return this.#seen.get(id)?.get(key);
  }
}

export async function readPointer(
  store: ObjectStore,
  id: RepositoryId,
  etag?: string,
): Promise<{ readonly etag: string; readonly pointer: Pointer } | 'same' | undefined> {
  const key = pointerKey(id);
  const found = await withRetry(() => store.get(key, etag));
  if (found === undefined || found === 'same') return found;
  return { etag: found.etag, pointer: parsePointer(found.body, key) };
}

/** Undefined before the first publish. @throws target.damaged if the snapshot of the pointer is missing */
export async function readCurrent(
  store: ObjectStore,
  memory: StoreMemory,
  id: RepositoryId,
): Promise<Current | undefined> {
  const known = memory.get(id);
  for (let attempt = 1; ; attempt++) {
    const found = await readPointer(store, id, known?.etag);
    if (found === undefined) return undefined;
    if (found === 'same') return known;
    const { snapshot } = found.pointer;
    const text = await readSnapshotText(store, id, snapshot);
    if (text !== undefined) {
      const current = { ...found, base: { snapshot, text } };
      memory.set(id, current);
      return current;
    }
    // It was deleted after the pointer was read; the pointer then refers to another snapshot by now.
    if (attempt === 3) throw lostObject(store.target, snapshotKey(id, snapshot));
  }
}

export async function readSnapshotText(
  store: ObjectStore,
  id: RepositoryId,
  snapshot: SnapshotText['snapshot'],
): Promise<Buffer | undefined> {
  const found = await withRetry(() => store.get(snapshotKey(id, snapshot)));
  return found === 'same' ? undefined : found?.body;
}

/** The error for a missing object that a pointer or snapshot refers to. */
export function lostObject(target: string, key: string): DropdockError {
  return new DropdockError('target.damaged', `The target ${target} has lost ${key}.`, {
    path: key,
    target,
  });
}
