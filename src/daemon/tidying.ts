/**
 * Deletes in the background what is marked for deletion: published drops, removed snapshots, abandoned work.
 * It waits while drops are being published.
 */
import { crash } from '../crash.js';
import { deleteMarked } from '../inbox/finish.js';
import { timed } from '../publisher/events.js';
import { errorFields } from '../report.js';
import { emptyTrash } from '../storage/trash.js';
import type { Services } from './services.js';

/** Longest delay under load: until then, what is marked for deletion takes disk space. */
const LATEST_MS = 5000;
/** Longest delay of a retry; the first is after 5 s, and each doubles. */
const AGAIN_MS_MAX = 10 * 60_000;

export class Tidying {
  readonly #services: Services;
  readonly #isBusy: () => boolean;
  #running: Promise<void> | undefined;
  #isWanted = false;
  #timer: NodeJS.Timeout | undefined;
  #isStopped = false;
  /** Number of consecutive failures. */
  #failures = 0;

  /** @param isBusy returns true while drops are being published */
  constructor(services: Services, isBusy: () => boolean) {
    this.#services = services;
    this.#isBusy = isBusy;
  }

  /** Requests a deletion. It starts when no publish is running, and within 5 s. */
  want(): void {
    this.#isWanted = true;
    if (this.#running || this.#isStopped) return;
    if (!this.#isBusy()) this.#begin();
    else this.#timer ??= setTimeout(() => this.#begin(), LATEST_MS);
  }

  /** Waits for all deletions requested so far. */
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
    const { ownInbox: inbox, roots, run, log, events } = this.#services;
    const empty = () => run(emptyTrash, { roots });
    const work = [run(deleteMarked, { inbox }), timed(events.emit, 'delete', empty)];
    const failed = (await Promise.allSettled(work)).flatMap((each) =>
      each.status === 'rejected' ? [each.reason as Error] : [],
    );
    this.#failures = failed.length > 0 ? this.#failures + 1 : 0;
    // During shutdown the threads end; the next start deletes the rest.
    if (failed.length === 0 || this.#isStopped) return;
    for (const error of failed) log('warn', 'daemon.warning', errorFields(error));
    const waitMs = Math.min(LATEST_MS * 2 ** (this.#failures - 1), AGAIN_MS_MAX);
    this.#timer ??= setTimeout(() => this.#begin(), waitMs);
    this.#timer.unref();
  }
}
