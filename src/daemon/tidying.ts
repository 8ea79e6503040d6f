/**
 * Deletes what was let go of: published drops, snapshots that went, work that came to nothing. It holds
 * nobody up, and where many drops come at once they are published first.
 */
import { crash } from '../crash.js';
import { deleteMarked } from '../inbox/finish.js';
import { timed } from '../publisher/events.js';
import { errorFields } from '../report.js';
import { emptyTrash } from '../storage/trash.js';
import type { Services } from './services.js';

/** What is deleted later takes room as long. */
const LATEST_MS = 5000;
/** What failed is tried again after 5 s, later and later, but no later than this. */
const AGAIN_MS_MAX = 10 * 60_000;

export class Tidying {
  readonly #services: Services;
  readonly #isBusy: () => boolean;
  #running: Promise<void> | undefined;
  #isWanted = false;
  #timer: NodeJS.Timeout | undefined;
  #isStopped = false;
  /** How often in a row it failed. */
  #failures = 0;

  /** @param isBusy there is something that people wait for */
  constructor(services: Services, isBusy: () => boolean) {
    this.#services = services;
    this.#isBusy = isBusy;
  }

  /** There is something to delete. It goes when nothing else is to be done, and within 5 s. */
  want(): void {
    this.#isWanted = true;
    if (this.#running || this.#isStopped) return;
    if (!this.#isBusy()) this.#begin();
    else this.#timer ??= setTimeout(() => this.#begin(), LATEST_MS);
  }

  /** What is wanted by now is done before this returns. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    if (this.#isWanted && !this.#running) this.#begin();
    await this.#running;
  }

  #begin(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#isWanted = false;
    this.#running ??= this.#tidy()
      .finally(() => {
        this.#running = undefined;
        if (this.#isWanted) this.want();
      })
      .catch(crash);
  }

  async #tidy(): Promise<void> {
    const { inbox, roots, run, log, events } = this.#services;
    const empty = () => run(emptyTrash, { roots });
    const work = [run(deleteMarked, { inbox }), timed(events.emit, 'delete', empty)];
    const failed = (await Promise.allSettled(work)).flatMap((each) =>
      each.status === 'rejected' ? [each.reason as Error] : [],
    );
    this.#failures = failed.length > 0 ? this.#failures + 1 : 0;
    // After the order to end, threads end: the next start finds what is left.
    if (failed.length === 0 || this.#isStopped) return;
    for (const error of failed) log('warn', 'daemon.warning', errorFields(error));
    const waitMs = Math.min(LATEST_MS * 2 ** (this.#failures - 1), AGAIN_MS_MAX);
    this.#timer ??= setTimeout(() => this.#begin(), waitMs);
    this.#timer.unref();
  }
}
