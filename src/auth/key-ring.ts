/**
 * Keeps the keys of tokens in memory and reads their file again when it changes. A process that cannot
 * read it has a key of its own: its tokens are good as long as it lives, and nowhere else.
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
  /** Makes the file where there is none, and puts a new key into it once in a while. */
  readonly makes: boolean;
  readonly run: RunJob;
  /** Milliseconds, of a clock that is never set. */
  readonly nowMs: () => number;
  /** Milliseconds since the epoch. */
  readonly clockMs: () => number;
  /** Other keys than before, or the file cannot be read. */
  readonly onChange: (what: KeySource) => void;
}

export type KeySource =
  | { readonly from: 'file'; readonly ignored: readonly number[] }
  /** The keys that were read before hold, or else one of this process alone. */
  | { readonly from: 'before' | 'memory'; readonly error?: Error };

/** A changed file is noticed within this. */
const LOOK_MS = 1000;

export class KeyRing {
  readonly #own = randomKey();
  #keys: readonly TokenKey[] = [];
  #version: string | undefined;
  #told: string | undefined;
  #lookedMs = Number.NEGATIVE_INFINITY;
  #looking: Promise<void> | undefined;

  constructor(readonly options: KeyRingOptions) {}

  /** What a token is signed with now. */
  async signing(): Promise<TokenKey> {
    await this.refresh();
    return signingKey(this.#keys, this.options.clockMs()) ?? this.#own;
  }

  async find(id: string): Promise<TokenKey | undefined> {
    await this.refresh();
    // Its own for good: a file that appears must not end what was signed a moment ago.
    return [...this.#keys, this.#own].find((key) => key.id === id);
  }

  /** Reads the file if it has changed; asks at most once a second, unless `now`. */
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
      // Read and told again once it can be.
      this.#version = undefined;
      const from = this.#keys.length > 0 ? 'before' : 'memory';
      this.#tell({ from, error: error as Error }, (error as Error).message);
    }
  }

  async #read(): Promise<void> {
    const { path, makes } = this.options;
    const version = await fileVersion(path);
    if (version === undefined) {
      // Who takes the file away means what was signed with it.
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
        `${path} holds no key of 32 characters or more.`,
        {
          path,
        },
      );
    }
    this.#version = version;
    this.#keys = keys;
    this.#tell({ from: 'file', ignored }, `${keys.map(({ id }) => id)} ${ignored}`);
  }

  /** Each thing once, until it is another. */
  #tell(what: KeySource, detail: string): void {
    const told = `${what.from} ${detail}`;
    if (told === this.#told) return;
    this.#told = told;
    this.options.onChange(what);
  }
}
