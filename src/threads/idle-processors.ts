/**
 * Would one more thread find a processor to run on? Where threads wait for a slow disk it would, and
 * where they compute it would only compile the same code once more.
 */
import { availableParallelism } from 'node:os';

/** Long enough for several small jobs. */
const SPAN_MS = 100;
/** Of all processors. Two threads on two of them, and a fast disk, use 75 %, and gain nothing from others. */
const BUSY_SHARE = 0.5;

export interface ProcessorClock {
  readonly processors: number;
  /** Processor time of this process (ms). */
  readonly usedMs: () => number;
  readonly nowMs: () => number;
}

const OWN: ProcessorClock = {
  processors: availableParallelism(),
  usedMs: () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1000;
  },
  nowMs: () => performance.now(),
};

export class IdleProcessors {
  #timer: NodeJS.Timeout | undefined;

  /** @param tell whether this process has left processors idle since it was asked */
  constructor(
    readonly tell: (areIdle: boolean) => void,
    readonly clock: ProcessorClock = OWN,
  ) {}

  /** The answer comes in a moment. */
  ask(): void {
    if (this.#timer !== undefined) return;
    const { processors, usedMs, nowMs } = this.clock;
    const [usedBeforeMs, beganMs] = [usedMs(), nowMs()];
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      const share = (usedMs() - usedBeforeMs) / ((nowMs() - beganMs) * processors);
      this.tell(share < BUSY_SHARE);
    }, SPAN_MS);
    this.#timer.unref();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
