/** Caches immutable content: concurrent requests share one read, later requests use the cached value. */
import { LRUCache } from 'lru-cache';

export class Memory<Value extends object | string> {
  readonly #known: LRUCache<string, Value>;
  readonly #reading = new Map<string, Promise<Value | undefined>>();

  /** @param sizeOf bytes of a value; the length of the key is added */
  constructor(maxBytes: number, sizeOf: (value: Value) => number) {
    this.#known = new LRUCache({
      maxSize: maxBytes,
      sizeCalculation: (value, key) => key.length + sizeOf(value),
    });
  }

  /** Missing keys are not cached: requests for arbitrary names would fill the cache. */
  async recall(key: string, read: () => Promise<Value | undefined>): Promise<Value | undefined> {
    const found = this.#known.get(key);
    if (found !== undefined) return found;
    const running = this.#reading.get(key);
    if (running !== undefined) return running;
    const reading = read().finally(() => this.#reading.delete(key));
    this.#reading.set(key, reading);
    const value = await reading;
    if (value !== undefined) this.#known.set(key, value);
    return value;
  }
}
