/** What a job left to other threads: done in order, and nothing more of it once something failed. */
export class LeftWork {
  #done: Promise<unknown> = Promise.resolve();

  add(begin: () => Promise<unknown>): void {
    this.#done = this.#done.then(begin);
    // It is told of with the job's own answer, which comes later.
    this.#done.catch(() => {});
  }

  /**
   * The job's answer, once what it left is over as well: nobody may still be writing when it is told.
   * A failure of its own comes first, for what it left may have failed by that.
   */
  async conclude<T>(answer: () => T): Promise<T> {
    const failure = await this.#done.then(
      () => undefined,
      (error) => ({ error }),
    );
    const result = answer();
    if (failure) throw failure.error;
    return result;
  }
}
