/**
 * Who is asking? Keeps the file of passwords in memory, reads it again when it changes, and
 * remembers for a while which passwords were right, for bcrypt is slow on purpose.
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
  /** Said a name and a password, and they are not right. */
  | { readonly kind: 'refused'; readonly name: string }
  /** Too many passwords are being checked. */
  | { readonly kind: 'busy' };

/** What became of a name and a password. */
export type Proof =
  /** With the line that the password was compared with. */
  | { readonly kind: 'user'; readonly name: string; readonly hash: string }
  | Extract<Caller, { kind: 'refused' | 'busy' }>;

export interface GateOptions {
  /** Undefined: nobody has a name here, and every caller is anonymous. */
  readonly htpasswd: string | undefined;
  readonly run: RunJob;
  /** Milliseconds, of a clock that is never set. */
  readonly nowMs: () => number;
  /** The file was read: for the first time, again, or in vain (then what was read before holds). */
  readonly onRead: (what: { ignored: readonly string[]; error?: Error; first: boolean }) => void;
}

/** A changed file is noticed within this. */
const LOOK_MS = 1000;
const REMEMBER_MS = 5 * 60_000;
const REMEMBERED_MAX = 10_000;
/** One guess costs a thread 5 ms to 300 ms; beyond this many the next is told to come later. */
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

  /** Is this the user's password? At most so many are compared at one time. */
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
      // An unknown name's password takes as long as a known one's.
      const cost = this.#cost;
      const request = { password, hash: hash ?? hashOfNobody(cost), cost };
      const right = await this.options.run(checkPassword, request);
      // Nor if the file has changed while it was compared.
      if (!right || hash === undefined || this.#passwords.get(user) !== hash) {
        return { kind: 'refused', name: user };
      }
      this.#right.set(remembered, true);
      return { kind: 'user', name: user, hash };
    } finally {
      this.#checks--;
    }
  }

  /** The line of this user as it is now; undefined for nobody. */
  async hashOf(user: string): Promise<string | undefined> {
    await this.refresh();
    return this.#passwords.get(user);
  }

  /** Reads the file if it has changed; asks at most once a second, unless `now`. */
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
      // Remembered before it is read: a file that is bad is told of once.
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
