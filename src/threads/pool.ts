/**
 * Worker threads for all disk work and hashing, so that the event loop (timers, the locks'
 * heartbeats, the watcher, and later pulls) never waits for a disk. Threads are made when there is
 * work and ended when there has been none for a while.
 */
import { type ResourceLimits, Worker } from 'node:worker_threads';
import type { RunJob } from '../disk/hands.js';
import { DropdockError, fromPlainError, toPlainError } from '../errors.js';
import type { Jobs } from './jobs.js';
import { type Lane, laneOf, remembered } from './lanes.js';
import { LeftWork } from './left-work.js';
import { pickIdle } from './pick.js';
import type { JobAnswer, JobMessage, LeftMessage } from './worker.js';

interface Task {
  readonly message: JobMessage;
  /** What its thread remembers then. */
  readonly about: string | undefined;
  readonly resolve: (result: never) => void;
  readonly reject: (error: Error) => void;
  readonly left: LeftWork;
}

/** What waits crosses to a thread together: each crossing costs two wakes, as much as a small job. */
const TOGETHER_MAX = 16;

/** Syncs wait for the disk, which likes to have more than one thing to do. */
const SYNC_THREADS = 2;

/** V8 lets what is young grow to 48 MiB before it looks for garbage; a thread that stays would keep them. */
const KEPT_YOUNG_MIB = 1;

/** Making one costs 160 ms, and drops come in bursts; idle, it holds some 20 MiB. */
const IDLE_MS = 30_000;

export class ThreadPool {
  readonly #lanes: Readonly<Record<Lane, ThreadLane>>;

  constructor({ hashThreads }: { readonly hashThreads: number }) {
    this.#lanes = {
      // There is always something to look at: making a thread for each look would cost more.
      look: new ThreadLane(1, this.run, { kept: 1, youngMiB: KEPT_YOUNG_MIB }),
      // They wait for the disk more than for a processor: 600 drops took 24 and 20 s with 2, 14 and 10 with
      // 4, 18 and 14 with 8, on a machine that others used as well.
      quick: new ThreadLane(4, this.run, { together: TOGETHER_MAX }),
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
      this.#lanes[laneOf(job, request)].add({ message, about, resolve, reject, left });
    });

  /** Ends all threads at once; what they were doing is left to the next start. */
  async close(): Promise<void> {
    await Promise.all(Object.values(this.#lanes).map((lane) => lane.close()));
  }
}

interface LaneOptions {
  /** So many threads stay when there is nothing to do. */
  readonly kept?: number;
  /** So many jobs one is given at once, where they are short. */
  readonly together?: number;
  /** How much of what is young a thread keeps; V8's own measure where it is left out. */
  readonly youngMiB?: number;
}

class ThreadLane {
  readonly #waiting: Task[] = [];
  readonly #idle: Thread[] = [];
  readonly #all = new Set<Thread>();
  #closed = false;

  readonly #kept: number;
  readonly #together: number;
  readonly #limits: ResourceLimits;

  /** @param run who does what a job leaves to other threads */
  constructor(
    readonly size: number,
    readonly run: RunJob<Jobs>,
    { kept = 0, together = 1, youngMiB }: LaneOptions = {},
  ) {
    this.#kept = kept;
    this.#together = together;
    this.#limits = youngMiB === undefined ? {} : { maxYoungGenerationSizeMb: youngMiB };
  }

  add(task: Task): void {
    if (this.#closed) {
      task.reject(stopped('The program is ending.'));
      return;
    }
    this.#waiting.push(task);
    this.#dispatch();
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const task of this.#waiting.splice(0)) task.reject(stopped('The program is ending.'));
    await Promise.all([...this.#all].map((thread) => thread.end()));
  }

  #dispatch(): void {
    while (this.#waiting.length > 0) {
      if (this.#closed) return;
      const thread = this.#takeIdle(this.#waiting[0]?.about) ?? this.#start();
      if (!thread) return;
      // No more than its share: the others have something to do as well.
      const share = Math.ceil(this.#waiting.length / this.size);
      thread.do(this.#waiting.splice(0, Math.min(share, this.#together)));
    }
  }

  #takeIdle(about: string | undefined): Thread | undefined {
    const thread = pickIdle(this.#idle, about);
    if (thread) this.#idle.splice(this.#idle.indexOf(thread), 1);
    return thread;
  }

  #start(): Thread | undefined {
    if (this.#all.size >= this.size) return undefined;
    const thread: Thread = new Thread(this.#limits, {
      run: this.run,
      onFree: () => {
        this.#idle.push(thread);
        this.#dispatch();
      },
      onEnd: () => {
        this.#forget(thread);
        this.#dispatch();
      },
      // It must not be given work any more by the time it is told to end.
      onIdle: () => {
        if (this.#all.size <= this.#kept) return false;
        this.#forget(thread);
        return true;
      },
    });
    this.#all.add(thread);
    return thread;
  }

  #forget(thread: Thread): void {
    this.#all.delete(thread);
    const at = this.#idle.indexOf(thread);
    if (at >= 0) this.#idle.splice(at, 1);
  }
}

interface ThreadHooks {
  readonly run: RunJob<Jobs>;
  readonly onFree: () => void;
  readonly onEnd: () => void;
  readonly onIdle: () => boolean;
}

class Thread {
  readonly #worker: Worker;
  /** In the order in which they will be answered. */
  readonly #tasks: Task[] = [];
  #remembers: string | undefined;
  #idleTimer: NodeJS.Timeout | undefined;

  /** @param hooks `onIdle` answers whether the thread is to end */
  constructor(resourceLimits: ResourceLimits, { run, onFree, onEnd, onIdle }: ThreadHooks) {
    this.#worker = new Worker(new URL('./worker.js', import.meta.url), { resourceLimits });
    this.#worker.on('message', (message: readonly JobAnswer[] | LeftMessage) => {
      if ('left' in message) {
        const { job, request } = message.left;
        this.#tasks[0]?.left.add(() => run(job, request as never));
        return;
      }
      const done = this.#tasks.splice(0, message.length);
      if (this.#tasks.length === 0) {
        this.#worker.unref();
        this.#idleTimer = setTimeout(() => {
          if (onIdle()) void this.end();
        }, IDLE_MS);
        this.#idleTimer.unref();
        onFree();
      }
      for (const [at, task] of done.entries()) conclude(task, message[at] as JobAnswer);
    });
    // Jobs catch what they throw; this is out of memory, or a bug.
    this.#worker.on('error', (error) =>
      this.#fail(stopped(`A worker thread failed: ${error.message}`, error)),
    );
    this.#worker.on('exit', () => {
      clearTimeout(this.#idleTimer);
      this.#fail(stopped('A worker thread ended.'));
      onEnd();
    });
  }

  get remembers(): string | undefined {
    return this.#remembers;
  }

  do(tasks: readonly Task[]): void {
    clearTimeout(this.#idleTimer);
    this.#tasks.push(...tasks);
    this.#remembers = tasks.findLast(({ about }) => about !== undefined)?.about ?? this.#remembers;
    this.#worker.ref();
    this.#worker.postMessage(tasks.map(({ message }) => message));
  }

  async end(): Promise<void> {
    await this.#worker.terminate();
  }

  #fail(error: Error): void {
    const answer = { ok: false, error: toPlainError(error) } as const;
    for (const task of this.#tasks.splice(0)) conclude(task, answer);
  }
}

function conclude({ left, resolve, reject }: Task, answer: JobAnswer): void {
  const open = () => {
    if (!answer.ok) throw fromPlainError(answer.error);
    return answer.result as never;
  };
  left.conclude(open).then(resolve, reject);
}

function stopped(message: string, cause?: Error): DropdockError {
  return new DropdockError('thread.failed', message, {}, cause);
}
