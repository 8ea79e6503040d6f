/**
 * Deletes what was let go of: published drops, snapshots that went, work that came to nothing. It holds
 * nobody up, and where many drops come at once they are published first.
 */
import { crash } from '../crash.js';
import { errorFields } from '../report.js';
import type { Services } from './services.js';

/** What is deleted later takes room as long. */
const LATEST_MS = 5000;

export class Tidying {
  readonly #services: Services;
  readonly #isBusy: () => boolean;
  #running: Promise<void> | undefined;
  #isWanted = false;
  #timer: NodeJS.Timeout | undefined;
  #isStopped = false;

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
    const { inbox, roots, run, log } = this.#services;
    const work = [run('deleteRetired', { inbox }), run('emptyTrash', { roots })];
    for (const each of await Promise.allSettled(work)) {
      // After the order to end, threads end: the next start finds what is left.
      if (each.status === 'fulfilled' || this.#isStopped) continue;
      log('warn', 'daemon.warning', errorFields(each.reason as Error));
    }
  }
}
