/**
 * Worker threads for all disk work and hashing, so that the event loop (timers, the locks'
 * heartbeats, the watcher, and later pulls) never waits for a disk. Threads are made when there is
 * work and ended when there has been none for a while.
 */
import { Worker } from 'node:worker_threads';
import type { RunJob } from '../disk/hands.js';
import { DropdockError, fromPlainError } from '../errors.js';
import type { Jobs } from './jobs.js';
import { type Lane, laneOf, remembered } from './lanes.js';
import { pickIdle } from './pick.js';
import type { JobAnswer, JobMessage } from './worker.js';

interface Task {
  readonly message: JobMessage;
  /** What its thread remembers then. */
  readonly about: string | undefined;
  readonly resolve: (result: never) => void;
  readonly reject: (error: Error) => void;
}

/** Making one costs 160 ms, and drops come in bursts; idle, it holds some 20 MiB. */
const IDLE_MS = 30_000;

export class ThreadPool {
  readonly #lanes: Readonly<Record<Lane, ThreadLane>>;

  constructor({ hashThreads }: { readonly hashThreads: number }) {
    this.#lanes = {
      // There is always something to look at: making a thread for each look would cost more.
      look: new ThreadLane(1, 1),
      // They wait for the disk more than for a processor: 600 drops took 24 and 20 s with 2, 14 and 10 with
      // 4, 18 and 14 with 8, on a machine that others used as well.
      quick: new ThreadLane(4),
      hash: new ThreadLane(hashThreads),
      background: new ThreadLane(1),
      password: new ThreadLane(1),
      page: new ThreadLane(1),
    };
  }

  readonly run: RunJob<Jobs> = (job, request) =>
    new Promise((resolve, reject) => {
      const message = { job, request } as JobMessage;
      const about = remembered(job, request);
      this.#lanes[laneOf(job, request)].add({ message, about, resolve, reject });
    });

  /** Ends all threads at once; what they were doing is left to the next start. */
  async close(): Promise<void> {
    await Promise.all(Object.values(this.#lanes).map((lane) => lane.close()));
  }
}

class ThreadLane {
  readonly #waiting: Task[] = [];
  readonly #idle: Thread[] = [];
  readonly #all = new Set<Thread>();
  #closed = false;

  /** @param kept so many threads stay when there is nothing to do */
  constructor(
    readonly size: number,
    readonly kept = 0,
  ) {}

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
      const task = thread && this.#waiting.shift();
      if (!task) return;
      thread.do(task);
    }
  }

  #takeIdle(about: string | undefined): Thread | undefined {
    const thread = pickIdle(this.#idle, about);
    if (thread) this.#idle.splice(this.#idle.indexOf(thread), 1);
    return thread;
  }

  #start(): Thread | undefined {
    if (this.#all.size >= this.size) return undefined;
    const thread: Thread = new Thread({
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
        if (this.#all.size <= this.kept) return false;
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
  readonly onFree: () => void;
  readonly onEnd: () => void;
  readonly onIdle: () => boolean;
}

class Thread {
  readonly #worker = new Worker(new URL('./worker.js', import.meta.url));
  #task: Task | undefined;
  #remembers: string | undefined;
  #idleTimer: NodeJS.Timeout | undefined;

  /** @param hooks `onIdle` answers whether the thread is to end */
  constructor({ onFree, onEnd, onIdle }: ThreadHooks) {
    this.#worker.on('message', (answer: JobAnswer) => {
      const task = this.#task;
      this.#task = undefined;
      this.#worker.unref();
      this.#idleTimer = setTimeout(() => {
        if (onIdle()) void this.end();
      }, IDLE_MS);
      this.#idleTimer.unref();
      onFree();
      if (answer.ok) task?.resolve(answer.result as never);
      else task?.reject(fromPlainError(answer.error));
    });
    this.#worker.on('error', (error) => {
      // Jobs catch what they throw; this is out of memory, or a bug.
      this.#task?.reject(stopped(`A worker thread failed: ${error.message}`, error));
      this.#task = undefined;
    });
    this.#worker.on('exit', () => {
      clearTimeout(this.#idleTimer);
      this.#task?.reject(stopped('A worker thread ended.'));
      this.#task = undefined;
      onEnd();
    });
  }

  get remembers(): string | undefined {
    return this.#remembers;
  }

  do(task: Task): void {
    clearTimeout(this.#idleTimer);
    this.#task = task;
    this.#remembers = task.about ?? this.#remembers;
    this.#worker.ref();
    this.#worker.postMessage(task.message);
  }

  async end(): Promise<void> {
    await this.#worker.terminate();
  }
}

function stopped(message: string, cause?: Error): DropdockError {
  return new DropdockError('thread.failed', message, {}, cause);
}
