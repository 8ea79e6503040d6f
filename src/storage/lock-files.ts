/**
 * The files of a lock: the filesystem handed to proper-lockfile, the note of who holds it, and a watch
 * that tells whether the holder still shows life. No clock is compared with a file's time, for the
 * times are those of other hosts.
 */
import fs from 'node:fs';
import { hostname } from 'node:os';
import { hasErrno } from '../errors.js';

/** What names a directory for as long as it exists; inode numbers alone are used again. */
function identity(path: string): string {
  const { ino, birthtimeMs } = fs.statSync(path);
  return `${ino} ${birthtimeMs}`;
}

/** Whose a lock is: the kernel its holder runs on, and the token of that process. */
export interface Holder {
  readonly boot: string;
  readonly owner: string;
}

/** All are of one length, so that none leaves a piece of the last. */
const NOTE_BYTES = 512;

/**
 * Notes it beside a lock, and for people on which host, as which process. Best effort: without it one
 * waits.
 */
function writeHolder(lock: string, note: string, { boot, owner }: Holder): void {
  try {
    const who = `host ${hostname()} pid ${process.pid}`;
    const text = `${boot} ${owner} ${identity(lock)}\n${who}\n`;
    // Written over what is there: to cut it off first makes ext4 give up a block and find another.
    const fd = fs.openSync(note, fs.constants.O_WRONLY | fs.constants.O_CREAT);
    try {
      fs.writeSync(fd, text.padEnd(NOTE_BYTES), 0);
    } finally {
      fs.closeSync(fd);
    }
  } catch {
    // Whoever comes next waits until the lock is stale.
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
   * Passed to proper-lockfile. A lock is made together with the note of its holder, so that hardly
   * a process can die between the two. What belongs to the taking is done at once: each way to the
   * threads of Node's own and back costs far more than the call. Its signs of life, later, hold nobody up.
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

  /** Who made this very lock directory; undefined where nothing tells. */
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

  /** The locks that are held in a directory, by their names. */
  held(directory: string, ending: string): string[] {
    return fs.readdirSync(directory).filter((name) => name.endsWith(ending));
  },

  /**
   * What changes with every sign of life of its holder, and with its holder; undefined where there
   * is no lock.
   */
  pulse(lock: string): string | undefined {
    try {
      return `${identity(lock)} ${fs.statSync(lock).mtimeMs}`;
    } catch (error) {
      // ESTALE: it was replaced on another host while it was looked at.
      if (hasErrno(error, 'ENOENT', 'ESTALE')) return undefined;
      throw error;
    }
  },

  /** Removes a lock left behind; somebody else may do so at the same time. */
  remove(lock: string): void {
    try {
      fs.rmdirSync(lock);
    } catch (error) {
      if (!hasErrno(error, 'ENOENT')) throw error;
    }
  },
};

/** Whether the holder of one lock has shown no sign of life for so long as it was watched. */
export class SilenceWatch {
  #pulse: string | undefined;
  #sinceMs = 0;

  constructor(readonly lock: string) {}

  /** @param nowMs of a clock that is never set */
  isSilentFor(ms: number, nowMs: number): boolean {
    const pulse = lockFileSystem.pulse(this.lock);
    if (pulse !== this.#pulse) {
      this.#pulse = pulse;
      this.#sinceMs = nowMs;
    }
    return pulse !== undefined && nowMs - this.#sinceMs >= ms;
  }
}
