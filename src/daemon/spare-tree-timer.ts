/** Schedules spare trees in the background, for large repositories with frequent publishes. */
import { crash } from '../crash.js';
import type { RepositoryId } from '../image/names.js';
import { errorFields } from '../report.js';
import { makeSpareTree, type StopFlag } from '../targets/directory/spare-tree.js';
import type { Services } from './services.js';

/** For fewer files a spare tree is not worth it: linking them takes less than 30 ms. */
const FILES_MIN = 2000;
/** Delay after a flip, so that making the tree does not compete with writing the receipt. */
const REST_MS = 50;
/** A spare tree is made if the previous publish of the repository was at most this long ago. */
const OFTEN_MS = 10 * 60_000;

type SpareTreeServices = Pick<Services, 'run' | 'roots' | 'owner' | 'log' | 'monotonicMs'>;

export class SpareTreeTimer {
  readonly #services: SpareTreeServices;
  /** Time of the last publish, on the monotonic clock. */
  readonly #lastMs = new Map<RepositoryId, number>();
  readonly #timers = new Map<RepositoryId, NodeJS.Timeout>();
  /** Stop flags of the spare trees being made; 1 stops the job. */
  readonly #stopFlags = new Map<RepositoryId, StopFlag>();
  #isStopped = false;

  readonly #unsubscribe: () => void;

  constructor(services: SpareTreeServices & Pick<Services, 'events'>) {
    this.#services = services;
    this.#unsubscribe = services.events.subscribe((event) => {
      if (event.type === 'repository.changing') this.publishing(event.id);
      if (event.type === 'flip.done') this.published(event.id, event.files);
    });
  }

  /** A publish starts: it uses the part of the tree that exists; making more would delay it. */
  publishing(id: RepositoryId): void {
    this.#forget(id);
  }

  /** @param files number of files of the new snapshot */
  published(id: RepositoryId, files: number): void {
    if (files < FILES_MIN || this.#isStopped) return;
    const nowMs = this.#services.monotonicMs();
    for (const [each, ms] of this.#lastMs) if (nowMs - ms > OFTEN_MS) this.#lastMs.delete(each);
    const isOften = this.#lastMs.has(id);
    this.#lastMs.set(id, nowMs);
    if (!isOften) return;
    this.#forget(id);
    const make = () => {
      this.#timers.delete(id);
      this.#make(id).catch(crash);
    };
    this.#timers.set(id, setTimeout(make, REST_MS));
  }

  stop(): void {
    this.#isStopped = true;
    this.#unsubscribe();
    for (const id of [...this.#timers.keys(), ...this.#stopFlags.keys()]) this.#forget(id);
  }

  #forget(id: RepositoryId): void {
    clearTimeout(this.#timers.get(id));
    this.#timers.delete(id);
    this.#stopFlags.get(id)?.fill(1);
  }

  async #make(id: RepositoryId): Promise<void> {
    const { run, roots, owner, log } = this.#services;
    const stop = new Int32Array(new SharedArrayBuffer(4));
    this.#stopFlags.set(id, stop);
    try {
      await run(makeSpareTree, { roots, id, owner: owner.token, stop });
    } catch (error) {
      if (this.#isStopped) return;
      const what = 'preparing the next snapshot';
      log('warn', 'daemon.warning', { what, id, ...errorFields(error as Error) });
    } finally {
      if (this.#stopFlags.get(id) === stop) this.#stopFlags.delete(id);
    }
  }
}
