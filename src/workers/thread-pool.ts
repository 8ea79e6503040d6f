/**
 * Worker threads for all disk work and hashing, so that the event loop (timers, the locks'
 * heartbeats, the watcher, pulls) never waits for a disk. Threads are made when there is work and ended
 * when there has been none for a while.
 */
import type { PoolName, RunJob } from '../storage/job.js';
import { WorkerPool } from './worker-pool.js';

/**
 * They wait for a disk more than they compute: 600 drops on a slow one took 24 and 20 s with 2, 14 and 10
 * with 4, 18 and 14 with 8.
 */
const FAST_THREADS = 4;

/** A sweep, a deletion and a count may run at the same time, and a password must not wait for them. */
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

  /** Ends all threads at once; what they were doing is left to the next start. */
  async close(): Promise<void> {
    await Promise.all(Object.values(this.#pools).map((pool) => pool.close()));
  }
}
