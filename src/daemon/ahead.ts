/** Makes the next trees of large repositories ready, while nobody waits for them. */

import { crash } from '../crash.js';
import type { RepositoryId } from '../image/names.js';
import { errorFields } from '../report.js';
import type { Services } from './services.js';

/** Fewer files are linked in less than 30 ms. */
const FILES_MIN = 2000;
/** Whoever publishes several times in a row is not to compete with this. */
const REST_MS = 250;
/**
 * Who published so short a time ago may soon do so twice in a row: then two trees are made. As long as
 * that a thread remembers what the older one differs by (threads/pool.ts).
 */
const SOON_MS = 30_000;

type AheadServices = Pick<Services, 'run' | 'roots' | 'owner' | 'log' | 'monotonicMs'>;

export class Ahead {
  readonly #timers = new Map<RepositoryId, NodeJS.Timeout>();
  /** Being made for these; the value tells whether there is something newer by now. */
  readonly #making = new Map<RepositoryId, boolean>();
  /** When they were published to last, on the monotonic clock. */
  readonly #lastMs = new Map<RepositoryId, number>();
  readonly #services: AheadServices;
  #stopped = false;

  constructor(services: AheadServices) {
    this.#services = services;
  }

  /** @param files of the snapshot that is current now */
  published(id: RepositoryId, files: number): void {
    if (files < FILES_MIN || this.#stopped) return;
    const nowMs = this.#services.monotonicMs();
    const wanted = nowMs - (this.#lastMs.get(id) ?? Number.NEGATIVE_INFINITY) < SOON_MS ? 2 : 1;
    for (const [each, ms] of this.#lastMs) if (nowMs - ms >= SOON_MS) this.#lastMs.delete(each);
    this.#lastMs.set(id, nowMs);
    if (this.#making.has(id)) this.#making.set(id, true);
    else if (!this.#timers.has(id)) this.#later(id, wanted);
  }

  stop(): void {
    this.#stopped = true;
    for (const timer of this.#timers.values()) clearTimeout(timer);
  }

  #later(id: RepositoryId, wanted: number): void {
    const timer = setTimeout(() => {
      this.#timers.delete(id);
      this.#prepare(id, wanted).catch(crash);
    }, REST_MS);
    this.#timers.set(id, timer);
  }

  async #prepare(id: RepositoryId, wanted: number): Promise<void> {
    const { run, roots, owner, log } = this.#services;
    this.#making.set(id, false);
    try {
      await run('prepareNext', { roots, id, owner: owner.token, wanted });
    } catch (error) {
      if (this.#stopped) return;
      log('warn', 'daemon.warning', { what: 'making ready', id, ...errorFields(error as Error) });
    }
    const isOutdated = this.#making.get(id) === true;
    this.#making.delete(id);
    if (isOutdated && !this.#stopped) this.#later(id, 2);
  }
}
