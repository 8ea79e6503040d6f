/**
 * Worker threads for all disk work and hashing, so that the event loop (timers, lock heartbeats, watcher,
 * pulls) never waits for a disk. Threads start when there is work and end after being idle for a while.
 */
import type { PoolName, RunJob } from '../storage/job.js';
import { WorkerPool } from './worker-pool.js';

/**
 * These threads mostly wait for the disk: 600 drops on a slow one took 24 and 20 s with 2, 14 and 10 with 4,
 * 18 and 14 with 8.
 */
const FAST_THREADS = 4;

/** A sweep, a deletion and a count may run at the same time, and a password check must not wait for them. */
const BACKGROUND_THREADS = 4;

export class ThreadPool {
  readonly #pools: Readonly<Record<PoolName, WorkerPool>>;

  constructor({ hashThreads }: { readonly hashThreads: number }) {
    this.#pools = {
      fast: new WorkerPool({ threads: FAST_THREADS }),
      hash: new WorkerPool({ threads: hashThreads }),
      background: new WorkerPool({ threads: BACKGROUND_THREADS }),
    };
  }

  readonly run: RunJob = ({ pool, module, jobName }, request) =>
    this.#pools[pool].run({ module, name: jobName, request }) as never;

  /** Ends all threads at once. The next start completes their work. */
  async close(): Promise<void> {
    await Promise.all(Object.values(this.#pools).map((pool) => pool.close()));
  }
}
