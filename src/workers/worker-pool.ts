/** Worker threads for one kind of job: a pool of piscina's, and what becomes of a job whose thread died. */
import { Piscina } from 'piscina';
import { crash } from '../crash.js';
import { DropdockError, fromPlainError } from '../errors.js';
import type { JobAnswer, JobMessage } from './worker.js';

/** Making a thread costs 115 ms, and drops come in bursts; an idle one holds some 20 MiB. */
const IDLE_MS = 30_000;

const WORKER = new URL('./worker.js', import.meta.url).href;

export interface WorkerPoolOptions {
  readonly threads: number;
  /** The module a thread starts with; another one in tests. */
  readonly worker?: string;
}

export class WorkerPool {
  readonly #options: WorkerPoolOptions;
  #piscina: Piscina<JobMessage, JobAnswer> | undefined;
  #isClosed = false;
  /** Why the last thread that could not start could not. */
  #startError: Error | undefined;
  /** Ends when all threads that were told to end have ended. */
  #ended: Promise<unknown> = Promise.resolve();

  constructor(options: WorkerPoolOptions) {
    this.#options = options;
  }

  get threads(): number {
    return this.#piscina?.threads.length ?? 0;
  }

  /** @throws what the job throws; `thread.failed` where its thread died, or the pool is closed */
  async run(message: JobMessage): Promise<unknown> {
    if (this.#isClosed) throw failed('The program is ending.');
    this.#piscina ??= this.#open();
    const answer = await this.#runOn(this.#piscina, message);
    if (!answer.ok) throw fromPlainError(answer.error);
    return answer.result;
  }

  /** Ends all threads at once. Jobs that run or wait fail with `thread.failed`. */
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
      // A thread that waits must still hear of its own timers and of errors that no job caught.
      atomics: 'disabled',
      recordTiming: false,
    });
    // Which threads have started, to tell one that could not start from one that died later.
    const started = new Set<number>();
    let hadStarted = false;
    piscina.on('workerCreate', ({ id }) => started.add(id));
    piscina.on('workerDestroy', ({ id }) => {
      hadStarted = started.delete(id);
    });
    // A thread died that had no job.
    piscina.on('error', (error: Error) => {
      // Of a pool that was ended: the answer of a job that ended at that very moment, too.
      if (piscina !== this.#piscina) return;
      if (hadStarted) crash(error);
      // It could not start. Where there is no other thread, what waits would wait for ever.
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
      // The request cannot cross to a thread: a bug of who asks.
      if (error instanceof DOMException) throw error;
      reviveQueue(piscina);
      // Until its thread has ended the job may still be doing something.
      await this.#ended;
      if (this.#isClosed) throw failed('The program is ending.');
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

/** Piscina starts no thread for the jobs that wait when the last thread dies, but for a job that comes. */
function reviveQueue(piscina: Piscina<JobMessage, JobAnswer>): void {
  if (piscina.threads.length > 0 || piscina.queueSize === 0) return;
  piscina.run({} as JobMessage, { name: 'doNothing' }).catch(() => {});
}

function failed(message: string, cause?: unknown): DropdockError {
  return new DropdockError('thread.failed', message, {}, cause);
}
