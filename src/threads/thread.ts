/** One worker thread, what it is doing, and its answers. */
import { Worker } from 'node:worker_threads';
import { crash } from '../crash.js';
import type { RunJob } from '../disk/hands.js';
import { DropdockError, fromPlainError, toPlainError } from '../errors.js';
import type { Jobs } from './jobs.js';
import type { LeftWork } from './left-work.js';
import type { JobAnswer, JobMessage, LeftMessage } from './worker.js';

/** Making one costs 115 ms, and drops come in bursts; idle, it holds some 20 MiB. */
const IDLE_MS = 30_000;

export interface Task {
  readonly message: JobMessage;
  /** What its thread remembers then. */
  readonly about: string | undefined;
  readonly resolve: (result: never) => void;
  readonly reject: (error: Error) => void;
  readonly left: LeftWork;
}

export interface ThreadHooks {
  readonly run: RunJob<Jobs>;
  readonly onFree: () => void;
  readonly onEnd: () => void;
  readonly onIdle: () => boolean;
}

/** What a thread may use; V8's own measures where it is left out. */
export interface ThreadLimits {
  /** How much of what is young it keeps. */
  readonly youngMiB?: number | undefined;
}

export class Thread {
  readonly #worker: Worker;
  /** In the order in which they will be answered. */
  readonly #tasks: Task[] = [];
  #remembers: string | undefined;
  #idleTimer: NodeJS.Timeout | undefined;

  /** @param hooks `onIdle` answers whether the thread is to end */
  constructor({ youngMiB }: ThreadLimits, { run, onFree, onEnd, onIdle }: ThreadHooks) {
    const resourceLimits = youngMiB === undefined ? {} : { maxYoungGenerationSizeMb: youngMiB };
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
          if (onIdle()) this.end().catch(crash);
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

export function stopped(message: string, cause?: Error): DropdockError {
  return new DropdockError('thread.failed', message, {}, cause);
}
