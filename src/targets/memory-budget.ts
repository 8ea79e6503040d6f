/**
 * Limits the number of bytes in memory that are being transferred to stores; later transfers wait. p-queue,
 * p-limit and async-sema count tasks, not bytes.
 */

export class Budget {
  #free: number;
  readonly #most: number;
  readonly #waiting: { readonly bytes: number; readonly go: () => void }[] = [];

  /** @param most bytes; a larger transfer runs alone */
  constructor(most: number) {
    this.#most = most;
    this.#free = most;
  }

  async use<T>(wanted: number, work: () => Promise<T>): Promise<T> {
    const bytes = Math.min(wanted, this.#most);
    if (this.#waiting.length > 0 || bytes > this.#free) {
      await new Promise<void>((go) => this.#waiting.push({ bytes, go }));
    } else this.#free -= bytes;
    try {
      return await work();
    } finally {
      this.#free += bytes;
      this.#wake();
    }
  }

  /** In order of arrival, so that a large transfer does not starve. */
  #wake(): void {
    for (let [next] = this.#waiting; next && next.bytes <= this.#free; [next] = this.#waiting) {
      this.#waiting.shift();
      this.#free -= next.bytes;
      next.go();
    }
  }
}
