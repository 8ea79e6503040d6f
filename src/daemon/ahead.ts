/** Makes the next trees of large repositories ready, while nobody waits for them. */
import type { RepositoryId } from '../image/names.js';
import { errorFields } from '../report.js';
import type { Services } from './services.js';

/** Fewer files are linked in less than 30 ms. */
const FILES_MIN = 2000;
/** Whoever publishes several times in a row is not to compete with this. */
const REST_MS = 250;

export class Ahead {
  readonly #timers = new Map<RepositoryId, NodeJS.Timeout>();
  readonly #services: Pick<Services, 'run' | 'roots' | 'owner' | 'log'>;
  #stopped = false;

  constructor(services: Pick<Services, 'run' | 'roots' | 'owner' | 'log'>) {
    this.#services = services;
  }

  /** @param files of the snapshot that is current now */
  published(id: RepositoryId, files: number): void {
    clearTimeout(this.#timers.get(id));
    this.#timers.delete(id);
    if (files < FILES_MIN || this.#stopped) return;
    const timer = setTimeout(() => {
      this.#timers.delete(id);
      void this.#prepare(id);
    }, REST_MS);
    this.#timers.set(id, timer);
  }

  stop(): void {
    this.#stopped = true;
    for (const timer of this.#timers.values()) clearTimeout(timer);
  }

  async #prepare(id: RepositoryId): Promise<void> {
    const { run, roots, owner, log } = this.#services;
    try {
      await run('prepareNext', { roots, id, owner: owner.token });
    } catch (error) {
      if (this.#stopped) return;
      log('warn', 'daemon.warning', { what: 'making ready', id, ...errorFields(error as Error) });
    }
  }
}
