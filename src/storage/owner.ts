/**
 * Says of every process that works on a tree whether it is still alive, so that what it left
 * (claims, unfinished work) can be taken over: on one host the kernel knows; of other hosts'
 * processes a file's time tells, which they renew, and which is compared with itself and never
 * with a clock.
 */
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { hasErrno } from '../errors.js';
import { discard } from './durable.js';
import { isUnlocked, type KernelLock, tryKernelLock } from './kernel-lock.js';
import { rename } from './lost-answers.js';

export const UNKNOWN_KERNEL = 'unknown';
/** Less than this is the coarseness of change times, and the way to the server and back. */
const AHEAD_MS_MIN = 2000;

const BOOT_ID = '/proc/sys/kernel/random/boot_id';
const MACHINE_ID = '/etc/machine-id';

/**
 * Identifies the running kernel: processes that share it can see each other's locks. Our own unit
 * hides its id (ProcSubset=pid); there the machine and its name stand for it.
 */
export function bootId(): string {
  knownBootId ??= readBootId([BOOT_ID, MACHINE_ID]);
  return knownBootId;
}

let knownBootId: string | undefined;

/** @param paths where an id may be read, best first */
export function readBootId(paths: readonly string[]): string {
  for (const path of paths) {
    try {
      const id = fs.readFileSync(path, 'utf8').trim();
      if (id !== '') return path === BOOT_ID ? id : `${id}-${hostname()}`;
    } catch {
      // Not there, or hidden.
    }
  }
  return UNKNOWN_KERNEL;
}

/** This process's mark on what it works on: letters and digits only. */
export class Owner {
  readonly token = `p${process.pid}x${randomBytes(6).toString('hex')}`;
  readonly #path: string;
  #lock: KernelLock | undefined;
  readonly #heartbeat: NodeJS.Timeout;
  #aheadMs = 0;

  /** @param directory where the owners of a tree keep their files; it exists */
  constructor(
    readonly directory: string,
    readonly options: { readonly heartbeatMs: number; readonly kernel: boolean },
  ) {
    this.#path = join(directory, this.token);
    this.#register();
    this.#heartbeat = setInterval(() => this.#renew(), options.heartbeatMs);
    this.#heartbeat.unref();
  }

  /**
   * How far the filesystem's clock is ahead of ours (ms). What hosts write down for one another, and
   * judge by, must be of one clock: theirs may differ by hours.
   */
  get aheadMs(): number {
    return this.#aheadMs;
  }

  /** @param ctimeMs when the filesystem carried out what was asked for just now */
  #compareClocks(ctimeMs: number): void {
    const aheadMs = Math.round(ctimeMs - Date.now());
    this.#aheadMs = Math.abs(aheadMs) < AHEAD_MS_MIN ? 0 : aheadMs;
  }

  #register(): void {
    // Locked before it gets its name, so that nobody sees it unlocked and takes us for dead.
    const unnamed = join(this.directory, `.${this.token}`);
    try {
      fs.writeFileSync(unnamed, `${bootId()}\n`, { mode: 0o644 });
      const lock = tryKernelLock(unnamed, this.options.kernel);
      this.#lock = typeof lock === 'string' ? undefined : lock;
      this.#compareClocks(fs.statSync(unnamed).ctimeMs);
      rename(unnamed, this.#path);
    } catch (error) {
      // It is tried again while the disk is in trouble: nothing may be left open, or lie there.
      discard(() => this.#lock?.release());
      discard(() => fs.rmSync(unnamed, { force: true }));
      throw error;
    }
  }

  /** Never fails: what was done is done, and a file left behind is found to be a dead one's. */
  release(): void {
    clearInterval(this.#heartbeat);
    discard(() => fs.rmSync(this.#path, { force: true }));
    discard(() => this.#lock?.release());
  }

  #renew(): void {
    const now = new Date();
    // A missed beat is made up by the next; the one that counts against us is a long silence.
    fs.utimes(this.#path, now, now, (error) => {
      if (error === null) {
        fs.stat(this.#path, (_error, stat) => stat && this.#compareClocks(stat.ctimeMs));
      }
      if (error?.code !== 'ENOENT') return;
      // Another host took us for dead (a long pause?). What was ours is theirs; we begin anew.
      discard(() => this.#lock?.release());
      try {
        this.#register();
      } catch {
        // The disk is in trouble; the next beat tries again.
      }
    });
  }
}

/** Watches the owners of a tree; one that is dead stays so. */
export class OwnerWatch {
  readonly #seen = new Map<string, { mtimeMs: number; sinceMs: number }>();

  constructor(
    readonly directory: string,
    readonly options: {
      /** An owner on another host that shows no life so long is dead. */
      readonly silenceMs: number;
      /** A clock that is never set. */
      readonly monotonicMs: () => number;
      /** Whether owners hold the kernel's locks. */
      readonly kernel: boolean;
    },
  ) {}

  isDead(token: string): boolean {
    const path = join(this.directory, token);
    let stat: fs.Stats;
    let boot: string;
    try {
      stat = fs.statSync(path);
      boot = fs.readFileSync(path, 'utf8').trim();
    } catch (error) {
      // Its file is removed when it ends in order, or when it was found dead.
      if (hasErrno(error, 'ENOENT')) return true;
      throw error;
    }
    const { kernel, monotonicMs, silenceMs } = this.options;
    if (kernel && boot === bootId() && boot !== UNKNOWN_KERNEL) {
      const unlocked = isUnlocked(path);
      if (unlocked !== 'unsupported') return unlocked;
    }
    const now = monotonicMs();
    const seen = this.#seen.get(token);
    if (seen === undefined || seen.mtimeMs !== stat.mtimeMs) {
      this.#seen.set(token, { mtimeMs: stat.mtimeMs, sinceMs: now });
      return false;
    }
    return now - seen.sinceMs >= silenceMs;
  }

  /** Removes the files of the dead; what they owned must have been taken over before. */
  forget(tokens: readonly string[]): void {
    for (const token of tokens) {
      this.#seen.delete(token);
      fs.rmSync(join(this.directory, token), { force: true });
    }
  }

  /** Every token that has a file. */
  tokens(): string[] {
    return fs.readdirSync(this.directory).filter((name) => !name.startsWith('.'));
  }
}
