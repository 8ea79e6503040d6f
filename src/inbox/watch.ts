/**
 * Events make a scan come sooner, and nothing more: chokidar was measured to lose them silently.
 * It watches the directories in which drops may appear and nothing below them, so a drop of
 * 100,000 files costs no watch at all. The only door to chokidar.
 */
import { join } from 'node:path';
import { FSWatcher } from 'chokidar';

export interface Hint {
  /** The directory something happened in, below the inbox. */
  readonly directory: string;
}

/** A look at once; then as long again as the watch is old. */
const AGAIN_MS_MIN = 20;
/** By then a new watch is there, however busy the machine is. */
const DOUBT_MS_MAX = 10_000;

/**
 * Lists nothing. chokidar lists a directory again after events there, with a stat of every entry, to
 * tell what is new: a third of what the main thread did while 1,000 drops came in. That is what a scan
 * is for; here it is enough that something happened.
 */
class EventsOnly extends FSWatcher {
  override _throttle(
    ...given: Parameters<FSWatcher['_throttle']>
  ): ReturnType<FSWatcher['_throttle']> {
    // What is throttled is not done.
    return given[0] === 'readdir' ? false : super._throttle(...given);
  }
}

export class InboxWatch {
  readonly #watcher: FSWatcher;
  readonly #watched = new Set<string>();
  /** When a directory began to be watched, on the monotonic clock. */
  #freshMs = Number.NEGATIVE_INFINITY;

  /**
   * @param onHint something happened there; look
   * @param onError events may be missing from now on; scans go on
   */
  constructor(
    readonly inbox: string,
    onHint: (hint: Hint) => void,
    onError: (error: Error) => void,
  ) {
    this.#watcher = new EventsOnly({
      persistent: true,
      ignoreInitial: true,
      followSymlinks: false,
      atomic: false,
      awaitWriteFinish: false,
      usePolling: false,
      depth: 0,
      // Its own bookkeeping of files is not wanted: everything but the directories is ignored.
      ignored: (path) => !this.#watched.has(path),
    });
    // The raw event comes straight from the kernel's watch, before any of that bookkeeping.
    this.#watcher.on('raw', (_event, name, details) => {
      // Our own directories, and files that tools will rename when they are whole: no drop has such a name.
      if (name?.startsWith('.')) return;
      const { watchedPath } = details as { watchedPath?: string };
      if (watchedPath) onHint({ directory: watchedPath.slice(inbox.length + 1) });
    });
    this.#watcher.on('error', (error) => onError(error as Error));
  }

  /**
   * chokidar tells nobody when it has begun to watch a directory. What came before that is found by
   * looking again, later and later.
   * @param directories below the inbox; only these are watched from now on
   * @param nowMs on the monotonic clock
   * @returns in how many milliseconds to look again; Infinity where every watch is there
   */
  follow(directories: readonly string[], nowMs: number): number {
    const wanted = new Set(directories.map((directory) => join(this.inbox, directory)));
    for (const path of this.#watched) {
      if (wanted.has(path)) continue;
      this.#watched.delete(path);
      this.#watcher.unwatch(path);
    }
    const added = [...wanted].filter((path) => !this.#watched.has(path));
    for (const path of added) this.#watched.add(path);
    if (added.length > 0) this.#watcher.add(added);
    if (added.length > 0) this.#freshMs = nowMs;
    const ageMs = nowMs - this.#freshMs;
    return ageMs > DOUBT_MS_MAX ? Number.POSITIVE_INFINITY : Math.max(AGAIN_MS_MIN, ageMs);
  }

  async close(): Promise<void> {
    await this.#watcher.close();
  }
}
