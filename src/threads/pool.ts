/**
 * Worker threads for all disk work and hashing, so that the event loop (timers, the locks'
 * heartbeats, the watcher, and later pulls) never waits for a disk. Threads are made when there is
 * work and ended when there has been none for a while.
 */
import { availableParallelism } from 'node:os';
import type { RunJob } from '../disk/hands.js';
import type { Jobs } from './jobs.js';
import { ThreadLane } from './lane.js';
import { type Lane, laneOf, remembered } from './lanes.js';
import { LeftWork } from './left-work.js';
import type { JobMessage } from './worker.js';

/** What waits crosses to a thread together: each crossing costs two wakes, as much as a small job. */
const TOGETHER_MAX = 16;

/**
 * Where they wait for a slow disk: 600 drops took 24 and 20 s with 2, 14 and 10 with 4, 18 and 14 with 8.
 * On a tmpfs 2,000 took 2.3 s with 2 on two processors, 2.8 with 4.
 */
const QUICK_MAX = 4;

/** Syncs wait for the disk, which likes to have more than one thing to do. */
const SYNC_THREADS = 2;

/** V8 lets what is young grow to 48 MiB before it looks for garbage; a thread that stays would keep them. */
const KEPT_YOUNG_MIB = 1;

export class ThreadPool {
  readonly #lanes: Readonly<Record<Lane, ThreadLane>>;

  constructor({ hashThreads }: { readonly hashThreads: number }) {
    this.#lanes = {
      // There is always something to look at: making a thread for each look would cost more.
      look: new ThreadLane(1, this.run, { kept: 1, youngMiB: KEPT_YOUNG_MIB }),
      quick: new ThreadLane(QUICK_MAX, this.run, {
        atOnce: Math.min(QUICK_MAX, availableParallelism()),
        together: TOGETHER_MAX,
      }),
      after: new ThreadLane(1, this.run, { together: TOGETHER_MAX }),
      hash: new ThreadLane(hashThreads, this.run),
      sync: new ThreadLane(SYNC_THREADS, this.run),
      background: new ThreadLane(1, this.run),
      password: new ThreadLane(1, this.run),
      page: new ThreadLane(1, this.run),
    };
  }

  readonly run: RunJob<Jobs> = (job, request) =>
    new Promise((resolve, reject) => {
      const message = { job, request } as JobMessage;
      const about = remembered(job, request);
      const left = new LeftWork();
      const lane = laneOf(job);
      // A thread that is there is better than one to be made.
      const given = lane === 'after' && this.#lanes.quick.isFree ? 'quick' : lane;
      this.#lanes[given].add({ message, about, resolve, reject, left });
    });

  /** Ends all threads at once; what they were doing is left to the next start. */
  async close(): Promise<void> {
    await Promise.all(Object.values(this.#lanes).map((lane) => lane.close()));
  }
}
