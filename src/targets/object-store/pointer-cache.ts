/**
 * Which snapshot is current, of each repository on an object store. A pointer that was confirmed a
 * moment ago is believed; many who ask at once are one request. While the store is away, what was
 * known last is told for a while; that something is not there is only ever said by the store itself.
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
  /** How long a pointer is believed (ms); 0 asks for each request. */
  readonly ageMs: number;
  /** How long what was known last is told while the store does not answer (ms). */
  readonly staleMs: number;
  /** Milliseconds, of a clock that is never set. */
  readonly monotonicMs: () => number;
  /** It answers again, or since now it does not. */
  readonly onAway: (trouble: Error | undefined) => void;
}

export type Named = Pick<Pointer, 'repository' | 'snapshot' | 'removed'>;

interface Known extends Named {
  readonly etag: string;
  /** When the request was sent that found it so. */
  readonly confirmedMs: number;
}

/** One request, and who it is good for. */
interface Flight {
  readonly beganMs: number;
  readonly known: Promise<Known | undefined>;
}

const POINTERS_MAX = 100_000;
/** Whoever can be told what was known waits no longer for a store that does not answer. */
const PATIENCE_MS = 1000;
/** A store that did not answer is left alone for so long by all who can do without. */
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

  /** As the store says at some moment after `sinceMs`. @throws target.failed, layout.unsafe */
  async confirmed(id: RepositoryId, sinceMs: number): Promise<Named | undefined> {
    const known = this.#known.get(id);
    if (known !== undefined && known.confirmedMs >= sinceMs) return known;
    return (await this.#flight(id, sinceMs)).known;
  }

  async #ask(id: RepositoryId, nowMs: number): Promise<Known | undefined> {
    const { beganMs, known } = await this.#flight(id, nowMs - this.options.ageMs);
    // What was not there when somebody else asked may be there now.
    return (await known) ?? (beganMs < nowMs ? (await this.#flight(id, nowMs)).known : undefined);
  }

  /** A request that was sent no earlier than `sinceMs`: one for all it is good for. */
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
      // What is known can be told meanwhile; for the rest it is worth another try.
      const found = await (before ? ask() : withRetry(ask));
      this.#tell(undefined);
      if (found === undefined) {
        this.#known.delete(id);
        return undefined;
      }
      // Its history is long, and nobody asks for it here.
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

  /** What is asked for, or what was known before where the store does not answer, or not soon. */
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
