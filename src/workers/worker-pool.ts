/** A pool of worker threads (piscina) for one kind of job, including the handling of threads that die. */
import { Piscina } from 'piscina';
import { crash } from '../crash.js';
import { DropdockError, fromPlainError } from '../errors.js';
import type { JobAnswer, JobMessage } from './worker.js';

/** Starting a thread costs 115 ms, and drops come in bursts. An idle thread holds about 20 MiB. */
const IDLE_MS = 30_000;

const WORKER = new URL('./worker.js', import.meta.url).href;

export interface WorkerPoolOptions {
  readonly threads: number;
  /** The module that a thread starts with; tests use another one. */
  readonly worker?: string;
}

export class WorkerPool {
  readonly #options: WorkerPoolOptions;
  #piscina: Piscina<JobMessage, JobAnswer> | undefined;
  #isClosed = false;
  /** The error of the last thread that could not start. */
  #startError: Error | undefined;
  /** Resolves when all threads that were terminated have ended. */
  #ended: Promise<unknown> = Promise.resolve();

  constructor(options: WorkerPoolOptions) {
    this.#options = options;
  }

  get threads(): number {
    return this.#piscina?.threads.length ?? 0;
  }

  /** @throws what the job throws; thread.failed when its thread died or the pool is closed */
  async run(message: JobMessage): Promise<unknown> {
    if (this.#isClosed) throw failed('The process is shutting down.');
    this.#piscina ??= this.#open();
    const answer = await this.#runOn(this.#piscina, message);
    if (!answer.ok) throw fromPlainError(answer.error);
    return answer.result;
  }

  /** Ends all threads at once. Running and waiting jobs fail with thread.failed. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#destroy();
    await this.#ended;
  }

  #open(): Piscina<JobMessage, JobAnswer> {
    const { threads, worker = WORKER } = this.#options;
    const piscina = new Piscina<JobMessage, JobAnswer>({
      filename: worker,
      name: 'runJob',
      minThreads: 0,
      maxThreads: threads,
      idleTimeout: IDLE_MS,
      stricterFIFO: true,
      // A waiting thread must still run its timers and report errors outside of jobs.
      atomics: 'disabled',
      recordTiming: false,
    });
    // Threads that have started, to tell those that could not start from those that died later.
    const started = new Set<number>();
    let hadStarted = false;
    piscina.on('workerCreate', ({ id }) => started.add(id));
    piscina.on('workerDestroy', ({ id }) => {
      hadStarted = started.delete(id);
    });
    // A thread without a job died.
    piscina.on('error', (error: Error) => {
      // A terminated pool; this may also be the result of a job that ended just then.
      if (piscina !== this.#piscina) return;
      if (hadStarted) crash(error);
      // It could not start. Without another thread, waiting jobs would wait forever.
      else if (piscina.threads.length === 0) {
        this.#startError = error;
        this.#destroy();
      }
    });
    return piscina;
  }

  async #runOn(piscina: Piscina<JobMessage, JobAnswer>, message: JobMessage): Promise<JobAnswer> {
    try {
      return await piscina.run(message);
    } catch (error) {
      // The request cannot be sent to a thread: a bug of the caller.
      if (error instanceof DOMException) throw error;
      reviveQueue(piscina);
      // The job may still be running until its thread has ended.
      await this.#ended;
      if (this.#isClosed) throw failed('The process is shutting down.');
      const cause = piscina === this.#piscina ? (error as Error) : (this.#startError ?? error);
      throw failed(`A worker thread failed: ${(cause as Error).message}`, cause);
    }
  }

  #destroy(): void {
    const ended = this.#piscina?.destroy();
    this.#piscina = undefined;
    this.#ended = Promise.all([this.#ended, ended]);
  }
}

/** When the last thread dies, piscina starts no thread for waiting jobs, only for a new job. */
function reviveQueue(piscina: Piscina<JobMessage, JobAnswer>): void {
  if (piscina.threads.length > 0 || piscina.queueSize === 0) return;
  piscina.run({} as JobMessage, { name: 'doNothing' }).catch(() => {});
}

function failed(message: string, cause?: unknown): DropdockError {
  return new DropdockError('thread.failed', message, {}, cause);
}
