/**
 * Caches the current pointer of each repository in an object store. A pointer is used without a request if it
 * was confirmed recently; concurrent callers share one request. While the store is unavailable, the last
 * known pointer is used for a while; only the store itself can report that there is none.
 */

import { LRUCache } from 'lru-cache';
import pTimeout from 'p-timeout';
import type { RepositoryId } from '../../image/names.js';
import { isAway } from '../../registry/source.js';
import { pointerKey } from './object-keys.js';
import type { ObjectStore, StoredObject } from './object-store.js';
import { type Pointer, parsePointer } from './pointer.js';
import { withRetry } from './retry-request.js';

export interface PointersOptions {
  readonly store: Pick<ObjectStore, 'get'>;
  /** How long a pointer is cached (ms); 0 sends a request each time. */
  readonly ageMs: number;
  /** How long the last known pointer is used while the store does not respond (ms). */
  readonly staleMs: number;
  /** Monotonic clock (ms). */
  readonly monotonicMs: () => number;
  /** Called when the store becomes unavailable (with the error) or available again. */
  readonly onAway: (trouble: Error | undefined) => void;
}

export type Named = Pick<Pointer, 'repository' | 'snapshot' | 'removed'>;

interface Known extends Named {
  readonly etag: string;
  /** When the request was sent that confirmed it. */
  readonly confirmedMs: number;
}

/** A running request, which callers share. */
interface Flight {
  readonly beganMs: number;
  readonly known: Promise<Known | undefined>;
}

const POINTERS_MAX = 100_000;
/** If there is a known pointer, callers wait this long for the store. */
const PATIENCE_MS = 1000;
/** After an error no request is sent for this time if there is a known pointer. */
const AWAY_MS = 1000;

export class Pointers {
  readonly #known = new LRUCache<RepositoryId, Known>({ max: POINTERS_MAX });
  readonly #flights = new Map<RepositoryId, Flight>();
  #leftAloneUntilMs = Number.NEGATIVE_INFINITY;
  #isAway = false;

  constructor(readonly options: PointersOptions) {}

  /** @throws target.failed, layout.unsafe */
  async current(id: RepositoryId): Promise<Named | undefined> {
    const { ageMs, staleMs, monotonicMs } = this.options;
    const nowMs = monotonicMs();
    const known = this.#known.get(id);
    if (known === undefined) return this.#ask(id, nowMs);
    const knownForMs = nowMs - known.confirmedMs;
    if (knownForMs < ageMs) return known;
    if (knownForMs >= staleMs) return this.#ask(id, nowMs);
    return nowMs < this.#leftAloneUntilMs ? known : this.#unlessAway(this.#ask(id, nowMs), known);
  }

  /** Returns the pointer as read after `sinceMs`. @throws target.failed, layout.unsafe */
  async confirmed(id: RepositoryId, sinceMs: number): Promise<Named | undefined> {
    const known = this.#known.get(id);
    if (known !== undefined && known.confirmedMs >= sinceMs) return known;
    return (await this.#flight(id, sinceMs)).known;
  }

  async #ask(id: RepositoryId, nowMs: number): Promise<Known | undefined> {
    const { beganMs, known } = await this.#flight(id, nowMs - this.options.ageMs);
    // A pointer that did not exist for an earlier request may exist now.
    return (await known) ?? (beganMs < nowMs ? (await this.#flight(id, nowMs)).known : undefined);
  }

  /**
   * Returns a request that was sent at `sinceMs` or later, shared by all callers for which it is recent
   * enough.
   */
  async #flight(id: RepositoryId, sinceMs: number): Promise<Flight> {
    for (;;) {
      const running = this.#flights.get(id) ?? this.#begin(id);
      if (running.beganMs >= sinceMs) return running;
      await running.known.catch(() => {});
    }
  }

  #begin(id: RepositoryId): Flight {
    const beganMs = this.options.monotonicMs();
    const known = this.#fetch(id, beganMs).finally(() => this.#flights.delete(id));
    const flight = { beganMs, known };
    this.#flights.set(id, flight);
    return flight;
  }

  async #fetch(id: RepositoryId, confirmedMs: number): Promise<Known | undefined> {
    const before = this.#known.get(id);
    const key = pointerKey(id);
    try {
      const ask = () => this.options.store.get(key, before?.etag);
      // With a known pointer, callers need no retry; without one, a retry is worthwhile.
      const found = await (before ? ask() : withRetry(ask));
      this.#tell(undefined);
      if (found === undefined) {
        this.#known.delete(id);
        return undefined;
      }
      // Omits the history, which is long and not used here.
      const { repository, snapshot, removed, etag } =
        found === 'same' && before
          ? before
          : {
              ...parsePointer((found as StoredObject).body, key),
              etag: (found as StoredObject).etag,
            };
      const known = { repository, snapshot, ...(removed && { removed }), etag, confirmedMs };
      this.#known.set(id, known);
      return known;
    } catch (error) {
      if (isAway(error)) this.#tell(error as Error);
      throw error;
    }
  }

  /** Returns the known pointer if the store is unavailable or slow. */
  async #unlessAway(asked: Promise<Known | undefined>, known: Known): Promise<Known | undefined> {
    const late = () => {
      this.#leaveAlone();
      return known;
    };
    try {
      return await pTimeout(asked, { milliseconds: PATIENCE_MS, fallback: late });
    } catch (error) {
      if (!isAway(error)) throw error;
      return known;
    }
  }

  #leaveAlone(): void {
    this.#leftAloneUntilMs = this.options.monotonicMs() + AWAY_MS;
  }

  #tell(trouble: Error | undefined): void {
    if (trouble) this.#leaveAlone();
    if (this.#isAway === (trouble !== undefined)) return;
    this.#isAway = trouble !== undefined;
    this.options.onAway(trouble);
  }
}
