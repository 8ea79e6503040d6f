/**
 * Authenticates callers. Keeps the password file in memory and reloads it when it changes. Caches correct
 * passwords for a while, because bcrypt is slow on purpose.
 */
import { createHmac, randomBytes } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { RunJob } from '../storage/job.js';
import { fileVersion, readConfigured } from '../storage/serving.js';
import { checkPassword } from './check-password.js';
import {
  type Credentials,
  hashOfNobody,
  type Passwords,
  parseAuthorization,
  parseHtpasswd,
  sharedCost,
} from './htpasswd.js';

export type Caller =
  | { readonly kind: 'anonymous' }
  | { readonly kind: 'user'; readonly name: string }
  /** Sent a wrong user name or password. */
  | { readonly kind: 'refused'; readonly name: string }
  /** Too many passwords are being checked. */
  | { readonly kind: 'busy' };

/** The result of checking a user name and password. */
export type Proof =
  /** `hash`: the hash that the password matched. */
  | { readonly kind: 'user'; readonly name: string; readonly hash: string }
  | Extract<Caller, { kind: 'refused' | 'busy' }>;

export interface GateOptions {
  /** The password file. Undefined: there are no users, and every caller is anonymous. */
  readonly htpasswd: string | undefined;
  readonly run: RunJob;
  /** Monotonic clock (ms). */
  readonly nowMs: () => number;
  /**
   * Called when the file was read for the first time, read again, or could not be read (then the previous
   * content stays in use).
   */
  readonly onRead: (what: { ignored: readonly string[]; error?: Error; first: boolean }) => void;
}

/** A changed file is detected within this time. */
const LOOK_MS = 1000;
const REMEMBER_MS = 5 * 60_000;
const REMEMBERED_MAX = 10_000;
/** A password check takes a thread 5 ms to 300 ms; further checks are refused as `busy`. */
const CHECKS_MAX = 64;

export class Gate {
  #passwords: Passwords = new Map();
  #cost = sharedCost(this.#passwords);
  #version: string | undefined;
  #lookedMs = Number.NEGATIVE_INFINITY;
  #reading: Promise<void> | undefined;
  #checks = 0;
  readonly #key = randomBytes(32);
  readonly #right: LRUCache<string, true>;

  constructor(readonly options: GateOptions) {
    this.#right = new LRUCache({ max: REMEMBERED_MAX, ttl: REMEMBER_MS });
  }

  async identify(authorization: string | undefined): Promise<Caller> {
    if (this.options.htpasswd === undefined) return { kind: 'anonymous' };
    const said = parseAuthorization(authorization);
    if (said === 'anonymous') return { kind: 'anonymous' };
    if (said === 'malformed') return { kind: 'refused', name: '' };
    const proof = await this.check(said);
    return proof.kind === 'user' ? { kind: 'user', name: proof.name } : proof;
  }

  /** Checks a password. The number of concurrent checks is limited. */
  async check({ user, password }: Credentials): Promise<Proof> {
    await this.refresh();
    const hash = this.#passwords.get(user);
    const remembered = createHmac('sha256', this.#key)
      .update(`${user.length}:${user}${password}`)
      .digest('base64');
    if (hash !== undefined && this.#right.get(remembered))
      return { kind: 'user', name: user, hash };
    if (this.#checks >= CHECKS_MAX) return { kind: 'busy' };
    this.#checks++;
    try {
      // An unknown user name must take as long as a known one.
      const cost = this.#cost;
      const request = { password, hash: hash ?? hashOfNobody(cost), cost };
      const right = await this.options.run(checkPassword, request);
      // Also refuse if the file changed during the comparison.
      if (!right || hash === undefined || this.#passwords.get(user) !== hash) {
        return { kind: 'refused', name: user };
      }
      this.#right.set(remembered, true);
      return { kind: 'user', name: user, hash };
    } finally {
      this.#checks--;
    }
  }

  /** Returns the user's current hash; undefined for an unknown user. */
  async hashOf(user: string): Promise<string | undefined> {
    await this.refresh();
    return this.#passwords.get(user);
  }

  /** Reloads the file if it has changed; checks at most once a second, unless `now`. */
  async refresh({ now = false } = {}): Promise<void> {
    if (this.options.htpasswd === undefined) return;
    const nowMs = this.options.nowMs();
    if (this.#reading === undefined && (now || nowMs - this.#lookedMs >= LOOK_MS)) {
      this.#lookedMs = nowMs;
      this.#reading = this.#read(this.options.htpasswd).finally(() => {
        this.#reading = undefined;
      });
    }
    await this.#reading;
  }

  async #read(path: string): Promise<void> {
    const first = this.#version === undefined;
    try {
      const version = (await fileVersion(path)) ?? 'absent';
      if (version === this.#version) return;
      // Set before reading, so that an invalid file is reported once.
      this.#version = version;
      const { passwords, ignored } = parseHtpasswd((await readConfigured(path)).toString('utf8'));
      this.#passwords = passwords;
      this.#cost = sharedCost(passwords);
      this.#right.clear();
      this.options.onRead({ ignored, first });
    } catch (error) {
      this.options.onRead({ ignored: [], error: error as Error, first });
    }
  }
}
