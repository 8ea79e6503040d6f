/**
 * URLs with which everyone can read one object for a while. Each is reused until half of its time has passed:
 * signing is more expensive than a redirect, and caches identify a blob by its URL.
 */
import { LRUCache } from 'lru-cache';
import type { ObjectStore } from './object-store.js';

const URLS_MAX = 20_000;

export class SignedUrls {
  readonly #known: LRUCache<string, string>;

  constructor(
    readonly store: Pick<ObjectStore, 'presign'>,
    /** How long a new URL is valid. */
    readonly seconds: number,
  ) {
    this.#known = new LRUCache({ max: URLS_MAX, ttl: Math.max(1, seconds * 500) });
  }

  async of(key: string): Promise<string> {
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const url = await this.store.presign(key, this.seconds);
    this.#known.set(key, url);
    return url;
  }
}
