/** The object stores of the settings, opened when somebody first needs one of them. */
import type { RunJob } from '../disk/hands.js';
import { DropdockError } from '../errors.js';
import type { StoreContext } from '../objects/context.js';
import { StoreMemory } from '../objects/current.js';
import type { ObjectJobs } from '../objects/jobs.js';
import { openStore } from '../objects/s3-store.js';
import type { ObjectStore } from '../objects/store.js';
import type { PublishJobs } from '../publish/jobs.js';
import type { TreeRoots } from '../publish/paths.js';
import type { Settings } from '../settings/schema.js';
import { LOCAL_TARGET, type StoreSettings } from '../settings/targets.js';
import type { ClockReading } from '../snapshot/elapsed.js';

export interface StoresOptions {
  readonly settings: Pick<Settings, 'targets'>;
  readonly roots: TreeRoots;
  readonly run: RunJob<ObjectJobs & PublishJobs>;
  readonly nowMs: () => number;
  readonly monotonicMs: () => number;
  readonly clock: () => ClockReading;
}

export class Stores {
  readonly #options: StoresOptions;
  readonly #opened = new Map<string, Promise<StoreContext>>();

  constructor(options: StoresOptions) {
    this.#options = options;
  }

  /** Of the object stores only. */
  get names(): string[] {
    return Object.keys(this.#options.settings.targets).filter((name) => name !== LOCAL_TARGET);
  }

  /** @throws usage.invalid for a name that is no store's, target.failed */
  open(name: string): Promise<StoreContext> {
    const known = this.#opened.get(name);
    if (known !== undefined) return known;
    const opening = this.#open(name);
    this.#opened.set(name, opening);
    opening.catch(() => this.#opened.delete(name));
    return opening;
  }

  settingsOf(name: string): StoreSettings {
    const settings = this.#options.settings.targets[name];
    if (settings?.type === 's3') return settings;
    const known = this.names.join(', ') || 'none';
    throw new DropdockError(
      'usage.invalid',
      `There is no store ${name}; the settings name ${known}.`,
    );
  }

  async close(): Promise<void> {
    const all = await Promise.allSettled(this.#opened.values());
    for (const each of all) if (each.status === 'fulfilled') each.value.store.close();
  }

  async #open(name: string): Promise<StoreContext> {
    const { roots, run, nowMs, monotonicMs, clock } = this.#options;
    const settings = this.settingsOf(name);
    const store: ObjectStore = await openStore({
      ...settings,
      target: name,
      timeoutMs: settings.timeout,
    });
    const { singleWriter: isSingleWriter, longest: longestMs } = settings;
    const memory = new StoreMemory();
    const times = { longestMs, nowMs, monotonicMs, clock };
    return { store, roots, run, memory, isSingleWriter, ...times };
  }
}
