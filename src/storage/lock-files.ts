/**
 * The files of a lock: the filesystem for proper-lockfile, the note about its holder, and a watch that
 * decides whether the holder is alive. File times come from other hosts, so they are never compared with a
 * clock.
 */
import fs from 'node:fs';
import { hostname } from 'node:os';
import { hasErrno } from '../errors.js';

/** Identifies a directory as long as it exists. Inode numbers alone are reused. */
function identity(path: string): string {
  const { ino, birthtimeMs } = fs.statSync(path);
  return `${ino} ${birthtimeMs}`;
}

/** The holder of a lock: the boot id of its kernel, and its process id. */
export interface Holder {
  readonly boot: string;
  readonly owner: string;
}

/** All notes have the same length, so that none leaves a part of the previous one. */
const NOTE_BYTES = 512;

/**
 * Writes the note beside the lock; for people it includes the host and pid. Best effort: without it a waiting
 * process waits until the lock is stale.
 */
function writeHolder(lock: string, note: string, { boot, owner }: Holder): void {
  try {
    const who = `host ${hostname()} pid ${process.pid}`;
    const text = `${boot} ${owner} ${identity(lock)}\n${who}\n`;
    // Overwrites in place: truncating first makes ext4 free a block and allocate another.
    const fd = fs.openSync(note, fs.constants.O_WRONLY | fs.constants.O_CREAT);
    try {
      fs.writeSync(fd, text.padEnd(NOTE_BYTES), 0);
    } finally {
      fs.closeSync(fd);
    }
  } catch {
    // Without a note the next process waits until the lock is stale.
  }
}

type Done<T> = (error: Error | null, result: T) => void;

function atOnce<T>(work: () => T, done: Done<T>): void {
  let result: T;
  try {
    result = work();
  } catch (error) {
    done(error as Error, undefined as T);
    return;
  }
  done(null, result);
}

export const lockFileSystem = {
  /**
   * Returns the filesystem for proper-lockfile. A lock is created together with the note of its holder, so
   * that a process can hardly die in between. Taking a lock uses synchronous calls: a round trip to Node's
   * own threads costs far more than the call. Later heartbeats are asynchronous.
   */
  with: (note: string, holder: Holder): typeof fs => {
    let isTaken = false;
    const make = (path: string) => {
      fs.mkdirSync(path);
      writeHolder(path, note, holder);
    };
    return {
      ...fs,
      mkdir: (path: string, done: Done<void>) => atOnce(() => make(path), done),
      utimes: (path: string, atime: Date, mtime: Date, done: Done<void>) => {
        if (isTaken) fs.utimes(path, atime, mtime, done);
        else atOnce(() => fs.utimesSync(path, atime, mtime), done);
      },
      stat: (path: string, done: Done<fs.Stats>) => {
        if (isTaken) fs.stat(path, done);
        else atOnce(() => fs.statSync(path), done);
        isTaken = true;
      },
    } as typeof fs;
  },

  /** Returns the holder of this lock directory; undefined when unknown. */
  holderOf(lock: string, note: string): Holder | undefined {
    try {
      const text = fs.readFileSync(note, 'utf8');
      const [boot = '', owner = ''] = text.split(' ');
      const isIts = text.startsWith(`${boot} ${owner} ${identity(lock)}\n`);
      return isIts ? { boot, owner } : undefined;
    } catch (error) {
      if (hasErrno(error, 'ENOENT', 'ESTALE')) return undefined;
      throw error;
    }
  },

  /** Returns the names of held locks in a directory. */
  held(directory: string, ending: string): string[] {
    return fs.readdirSync(directory).filter((name) => name.endsWith(ending));
  },

  /** Returns a value that changes with each heartbeat and each new holder; undefined when there is no lock. */
  pulse(lock: string): string | undefined {
    try {
      return `${identity(lock)} ${fs.statSync(lock).mtimeMs}`;
    } catch (error) {
      // ESTALE: another host replaced it meanwhile.
      if (hasErrno(error, 'ENOENT', 'ESTALE')) return undefined;
      throw error;
    }
  },

  /** Deletes a lock left behind. Another process may do so at the same time. */
  remove(lock: string): void {
    try {
      fs.rmdirSync(lock);
    } catch (error) {
      if (!hasErrno(error, 'ENOENT')) throw error;
    }
  },
};

/** Decides whether the holder of a lock has sent no heartbeat for some time, while it was watched. */
export class SilenceWatch {
  #pulse: string | undefined;
  #sinceMs = 0;

  constructor(readonly lock: string) {}

  /** @param nowMs monotonic clock */
  isSilentFor(ms: number, nowMs: number): boolean {
    const pulse = lockFileSystem.pulse(this.lock);
    if (pulse !== this.#pulse) {
      this.#pulse = pulse;
      this.#sinceMs = nowMs;
    }
    return pulse !== undefined && nowMs - this.#sinceMs >= ms;
  }
}
