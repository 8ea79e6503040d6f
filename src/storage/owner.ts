/**
 * Decides for every process on a tree whether it is alive, so that its leftovers (claims, unfinished work)
 * can be taken over. On one host the kernel knows. For processes on other hosts, a file whose time they renew
 * decides; it is compared with earlier values, never with a clock.
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
/** Smaller differences come from the resolution of change times and from the network. */
const AHEAD_MS_MIN = 2000;

const BOOT_ID = '/proc/sys/kernel/random/boot_id';
const MACHINE_ID = '/etc/machine-id';

/**
 * Identifies the running kernel; processes with the same id can see each other's locks. The systemd unit
 * hides the boot id (ProcSubset=pid); the machine id and host name are used then.
 */
export function bootId(): string {
  knownBootId ??= readBootId([BOOT_ID, MACHINE_ID]);
  return knownBootId;
}

let knownBootId: string | undefined;

/** @param paths files that may hold an id, best first */
export function readBootId(paths: readonly string[]): string {
  for (const path of paths) {
    try {
      const id = fs.readFileSync(path, 'utf8').trim();
      if (id !== '') return path === BOOT_ID ? id : `${id}-${hostname()}`;
    } catch {
      // Missing or hidden.
    }
  }
  return UNKNOWN_KERNEL;
}

/** This process's entry in the tree. Its id has only letters and digits. */
export class Owner {
  readonly token = `p${process.pid}x${randomBytes(6).toString('hex')}`;
  readonly #path: string;
  #lock: KernelLock | undefined;
  readonly #heartbeat: NodeJS.Timeout;
  #aheadMs = 0;

  /** @param directory where the processes of a tree keep their files; must exist */
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
   * How far the filesystem's clock is ahead of this host's (ms). Times written for other hosts must come from
   * one clock; theirs may differ by hours.
   */
  get aheadMs(): number {
    return this.#aheadMs;
  }

  /** @param ctimeMs when the filesystem executed the last operation */
  #compareClocks(ctimeMs: number): void {
    const aheadMs = Math.round(ctimeMs - Date.now());
    this.#aheadMs = Math.abs(aheadMs) < AHEAD_MS_MIN ? 0 : aheadMs;
  }

  #register(): void {
    // Locked before it gets its name, so that no process sees it unlocked and considers this one dead.
    const unnamed = join(this.directory, `.${this.token}`);
    try {
      fs.writeFileSync(unnamed, `${bootId()}\n`, { mode: 0o644 });
      const lock = tryKernelLock(unnamed, this.options.kernel);
      this.#lock = typeof lock === 'string' ? undefined : lock;
      this.#compareClocks(fs.statSync(unnamed).ctimeMs);
      rename(unnamed, this.#path);
    } catch (error) {
      // The caller retries on disk errors, so nothing may stay open or be left behind.
      discard(() => this.#lock?.release());
      discard(() => fs.rmSync(unnamed, { force: true }));
      throw error;
    }
  }

  /** Does not throw. A file left behind is recognised as that of a dead process. */
  release(): void {
    clearInterval(this.#heartbeat);
    discard(() => fs.rmSync(this.#path, { force: true }));
    discard(() => this.#lock?.release());
  }

  #renew(): void {
    const now = new Date();
    // The next heartbeat makes up for a failed one; only a long silence counts.
    fs.utimes(this.#path, now, now, (error) => {
      if (error === null) {
        fs.stat(this.#path, (_error, stat) => stat && this.#compareClocks(stat.ctimeMs));
      }
      if (error?.code !== 'ENOENT') return;
      // Another host considered this process dead (after a long pause?) and took over its work. Registers
      // again.
      discard(() => this.#lock?.release());
      try {
        this.#register();
      } catch {
        // The next heartbeat retries after a disk error.
      }
    });
  }
}

/** Watches the processes of a tree. A process found dead stays dead. */
export class OwnerWatch {
  readonly #seen = new Map<string, { mtimeMs: number; sinceMs: number }>();

  constructor(
    readonly directory: string,
    readonly options: {
      /** A process on another host without a heartbeat for this long is dead. */
      readonly silenceMs: number;
      /** Monotonic clock. */
      readonly monotonicMs: () => number;
      /** Whether processes hold kernel locks. */
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
      // The file is deleted when the process ends normally, or was found dead.
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

  /** Deletes the files of dead processes. Their work must have been taken over before. */
  forget(tokens: readonly string[]): void {
    for (const token of tokens) {
      this.#seen.delete(token);
      fs.rmSync(join(this.directory, token), { force: true });
    }
  }

  /** Returns the ids of all processes that have a file. */
  tokens(): string[] {
    return fs.readdirSync(this.directory).filter((name) => !name.startsWith('.'));
  }
}
