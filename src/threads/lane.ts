/** Threads for one kind of work, and the jobs that wait for them. */
import type { RunJob } from '../disk/hands.js';
import { IdleProcessors, type ProcessorClock } from './idle-processors.js';
import type { Jobs } from './jobs.js';
import { pickIdle } from './pick.js';
import { stopped, type Task, Thread, type ThreadLimits } from './thread.js';

/** A second: building a repository of 50,000 tags takes many, and keeps nobody else waiting. */
const STUCK_ASKS = 10;

export interface LaneOptions extends ThreadLimits {
  /** So many are started for whatever waits, the others for processors that are idle, or after a second. */
  readonly atOnce?: number;
  /** So many threads stay when there is nothing to do. */
  readonly kept?: number;
  /** What the processors did; the process's own where it is left out. */
  readonly clock?: ProcessorClock;
  /** So many jobs one is given at once, where they are short. */
  readonly together?: number;
}

export class ThreadLane {
  readonly #waiting: Task[] = [];
  readonly #idle: Thread[] = [];
  readonly #all = new Set<Thread>();
  #closed = false;
  /** Who waited first when processors were asked for, and how often that was. */
  #next: Task | undefined;
  #asked = 0;

  readonly #atOnce: number;
  readonly #kept: number;
  readonly #together: number;
  readonly #limits: ThreadLimits;
  readonly #processors: IdleProcessors;

  /** @param run who does what a job leaves to other threads */
  constructor(
    readonly size: number,
    readonly run: RunJob<Jobs>,
    { atOnce = size, kept = 0, together = 1, youngMiB, clock }: LaneOptions = {},
  ) {
    this.#atOnce = atOnce;
    this.#processors = new IdleProcessors((areIdle) => {
      if (areIdle || this.#isStuck()) this.#dispatch(this.size);
      else if (this.#waiting.length > 0) this.#processors.ask();
    }, clock);
    this.#kept = kept;
    this.#together = together;
    this.#limits = { youngMiB };
  }

  get threads(): number {
    return this.#all.size;
  }

  /** What it is given now begins at once, if perhaps on a new thread. */
  get isFree(): boolean {
    const isIdle = this.#idle.length > 0 || this.#all.size < this.#atOnce;
    return isIdle && this.#waiting.length === 0;
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
    this.#processors.stop();
    for (const task of this.#waiting.splice(0)) task.reject(stopped('The program is ending.'));
    await Promise.all([...this.#all].map((thread) => thread.end()));
  }

  /** @param most so many threads there may be */
  #dispatch(most = this.#atOnce): void {
    while (this.#waiting.length > 0) {
      if (this.#closed) return;
      const thread = this.#takeIdle(this.#waiting[0]?.about) ?? this.#start(most);
      if (!thread) break;
      // No more than its share: the others have something to do as well.
      const share = Math.ceil(this.#waiting.length / this.size);
      thread.do(this.#waiting.splice(0, Math.min(share, this.#together)));
    }
    if (this.#waiting.length > 0 && this.#all.size < this.size) this.#processors.ask();
  }

  /** The same job has waited for long: those before it are long ones. */
  #isStuck(): boolean {
    const [next] = this.#waiting;
    if (next !== this.#next) this.#asked = 0;
    this.#next = next;
    return next !== undefined && ++this.#asked >= STUCK_ASKS;
  }

  #takeIdle(about: string | undefined): Thread | undefined {
    const thread = pickIdle(this.#idle, about);
    if (thread) this.#idle.splice(this.#idle.indexOf(thread), 1);
    return thread;
  }

  #start(most: number): Thread | undefined {
    if (this.#all.size >= most) return undefined;
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
