/** What a store says is current: pointer and snapshot, remembered by their ETags. */
import { LRUCache } from 'lru-cache';
import { DropdockError } from '../../errors.js';
import type { RepositoryId } from '../../image/names.js';
import type { ClockReading, Sighting } from '../../repository/elapsed.js';
import type { SnapshotText } from '../../repository/snapshot-file.js';
import { pointerKey, snapshotKey } from './object-keys.js';
import type { ObjectStore } from './object-store.js';
import { FLIPS_KEPT, type Pointer, parsePointer } from './pointer.js';
import { withRetry } from './retry-request.js';

/** What is read of a store and kept for the next time. */
const MEMORY_BYTES = 64 * 1024 * 1024;

export interface Current {
  /** Of the pointer. */
  readonly etag: string;
  readonly pointer: Pointer;
  readonly base: SnapshotText;
}

/** What cleanings have seen of each repository, as in the history of a tree. */
export type StoreAges = ReadonlyMap<RepositoryId, readonly Sighting[]>;

/** One for each target. Holds no truth: what it says is asked of the store again, by ETag. */
export class StoreMemory {
  readonly #current = new LRUCache<RepositoryId, Current>({
    maxSize: MEMORY_BYTES,
    sizeCalculation: ({ base }) => Math.max(1, base.text.length),
  });
  /** The ETag of the redirect file that this process put, and of which flip it is. */
  readonly redirects = new Map<RepositoryId, { readonly etag: string; generation: number }>();
  /** How many blobs a manifest's bytes name, by the mark of its key (see clean.ts). */
  readonly references = new Map<number, number>();
  /** The store compares If-Match with ETags without their quotes (Ceph's gateway). */
  stripsQuotes = false;
  /** When this process saw its own flips done, by their keys; see ages.ts. */
  readonly flips = new FlipMemory();
  /** What cleanings know of ages, and when it was read, on the monotonic clock. */
  ages: { readonly ages: StoreAges; readonly readMs: number } | undefined;

  get(id: RepositoryId): Current | undefined {
    return this.#current.get(id);
  }

  set(id: RepositoryId, current: Current): void {
    this.#current.set(id, current);
  }
}

/** The newest of each repository's flips that this process made, and its clock after each. */
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

/** Undefined before the first publish. @throws target.damaged: a pointer that leads nowhere */
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
    // Cleaned away while we looked: then the pointer leads elsewhere by now.
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

/** For what a pointer or a snapshot names and the store does not have. */
export function lostObject(target: string, key: string): DropdockError {
  return new DropdockError('target.damaged', `The target ${target} has lost ${key}.`, {
    path: key,
    target,
  });
}
