/**
 * Keeps the token keys in memory and reloads their file when it changes. A process that cannot read the file
 * uses its own key: its tokens are valid only in this process.
 */

import { DropdockError } from '../errors.js';
import type { RunJob } from '../storage/job.js';
import { fileVersion, readConfigured } from '../storage/serving.js';
import { makeTokenKey } from './make-token-key.js';
import {
  isRotationDue,
  parseTokenKeys,
  randomKey,
  signingKey,
  type TokenKey,
} from './token-keys.js';

export interface KeyRingOptions {
  readonly path: string;
  /** Creates the file if it is missing, and adds a new key when rotation is due. */
  readonly makes: boolean;
  readonly run: RunJob;
  /** Monotonic clock (ms). */
  readonly nowMs: () => number;
  /** Milliseconds since the epoch. */
  readonly clockMs: () => number;
  /** Called when the keys changed or the file cannot be read. */
  readonly onChange: (what: KeySource) => void;
}

export type KeySource =
  | { readonly from: 'file'; readonly ignored: readonly number[] }
  /** `before`: the previous keys stay in use. `memory`: only the key of this process is in use. */
  | { readonly from: 'before' | 'memory'; readonly error?: Error };

/** A changed file is detected within this time. */
const LOOK_MS = 1000;

export class KeyRing {
  readonly #own = randomKey();
  #keys: readonly TokenKey[] = [];
  #version: string | undefined;
  #told: string | undefined;
  #lookedMs = Number.NEGATIVE_INFINITY;
  #looking: Promise<void> | undefined;

  constructor(readonly options: KeyRingOptions) {}

  /** Returns the key that signs new tokens. */
  async signing(): Promise<TokenKey> {
    await this.refresh();
    return signingKey(this.#keys, this.options.clockMs()) ?? this.#own;
  }

  async find(id: string): Promise<TokenKey | undefined> {
    await this.refresh();
    // The own key stays valid: tokens signed with it must not become invalid when a file appears.
    return [...this.#keys, this.#own].find((key) => key.id === id);
  }

  /** Reloads the file if it has changed; checks at most once a second, unless `now`. */
  async refresh({ now = false } = {}): Promise<void> {
    const nowMs = this.options.nowMs();
    if (this.#looking === undefined && (now || nowMs - this.#lookedMs >= LOOK_MS)) {
      this.#lookedMs = nowMs;
      this.#looking = this.#look().finally(() => {
        this.#looking = undefined;
      });
    }
    await this.#looking;
  }

  async #look(): Promise<void> {
    try {
      await this.#read();
      const { makes, run, path, clockMs } = this.options;
      if (!makes || !isRotationDue(this.#keys, clockMs())) return;
      await run(makeTokenKey, { path, nowMs: clockMs() });
      await this.#read();
    } catch (error) {
      // Forces a reload and a report as soon as the file is readable.
      this.#version = undefined;
      const from = this.#keys.length > 0 ? 'before' : 'memory';
      this.#tell({ from, error: error as Error }, (error as Error).message);
    }
  }

  async #read(): Promise<void> {
    const { path, makes } = this.options;
    const version = await fileVersion(path);
    if (version === undefined) {
      // Deleting the file revokes all tokens signed with its keys.
      this.#keys = [];
      this.#version = undefined;
      if (!makes) this.#tell({ from: 'memory' }, '');
      return;
    }
    if (version === this.#version) return;
    const { keys, ignored } = parseTokenKeys((await readConfigured(path)).toString('utf8'));
    if (keys.length === 0) {
      throw new DropdockError(
        'settings.invalid',
        `${path} contains no key of at least 32 characters.`,
        {
          path,
        },
      );
    }
    this.#version = version;
    this.#keys = keys;
    this.#tell({ from: 'file', ignored }, `${keys.map(({ id }) => id)} ${ignored}`);
  }

  /** Reports each state once, until it changes. */
  #tell(what: KeySource, detail: string): void {
    const told = `${what.from} ${detail}`;
    if (told === this.#told) return;
    this.#told = told;
    this.options.onChange(what);
  }
}
