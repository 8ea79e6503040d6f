/**
 * Events make a scan come sooner, and nothing more: chokidar was measured to lose them silently.
 * It watches the directories in which drops may appear and nothing below them, so a drop of
 * 100,000 files costs no watch at all. The only door to chokidar.
 */
import { join } from 'node:path';
import { FSWatcher } from 'chokidar';
import { hasErrno } from '../errors.js';
import { type PathWatch, watchPath } from '../storage/watch-path.js';

export interface Hint {
  /** The directory something happened in, below the inbox. */
  readonly directory: string;
}

/** A look at once; then as long again as the watch is old. */
const AGAIN_MS_MIN = 20;
/** By then a new watch is there, however busy the machine is. */
const DOUBT_MS_MAX = 10_000;
/** Places watched for drops that wait; more wait for the next scan. */
const PLACES_MAX = 1000;

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
  /** Drops that wait for a change, each with what is watched of it. */
  readonly #awaited = new Map<string, readonly PathWatch[]>();
  #places = 0;
  /** When a directory began to be watched, on the monotonic clock. */
  #freshMs = Number.NEGATIVE_INFINITY;

  /**
   * @param onHint something happened there; look
   * @param onError events may be missing from now on; scans go on
   */
  constructor(
    readonly inbox: string,
    readonly onHint: (hint: Hint) => void,
    readonly onError: (error: Error) => void,
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

  /**
   * Makes the next change of a drop that waits a hint: below a drop nothing else is watched, and a file
   * that was claimed and returned is not in the inbox for the kernel while its writer has it open (its
   * events come under the name it was claimed by).
   * @param places of the drop, as paths below the inbox: a file, or directories in which something is missing
   * @returns true when the watch is new: what changed before it needs another look
   */
  awaitChange(drop: string, places: readonly string[]): boolean {
    if (this.#awaited.has(drop)) return false;
    const watchers = places.slice(0, PLACES_MAX - this.#places).flatMap((place) => {
      try {
        // The first event is enough: from then on the drop is looked at until it is quiet again.
        const onChange = () => {
          if (this.#forget(drop)) this.onHint({ directory: place });
        };
        return watchPath(join(this.inbox, place), { onChange, onError: this.onError });
      } catch (error) {
        // What is not there yet is made in a directory that is watched; the others are left to the scans.
        if (!hasErrno(error, 'ENOENT', 'ENOTDIR', 'EACCES')) this.onError(error as Error);
        return [];
      }
    });
    this.#awaited.set(drop, watchers);
    this.#places += watchers.length;
    return watchers.length > 0;
  }

  /** Drops that no longer wait, or are gone, are not watched any more. */
  awaitOnly(drops: ReadonlySet<string>): void {
    for (const drop of this.#awaited.keys()) if (!drops.has(drop)) this.#forget(drop);
  }

  #forget(drop: string): boolean {
    const watchers = this.#awaited.get(drop);
    if (watchers === undefined) return false;
    this.#awaited.delete(drop);
    this.#places -= watchers.length;
    for (const watcher of watchers) watcher.close();
    return true;
  }

  async close(): Promise<void> {
    this.awaitOnly(new Set());
    await this.#watcher.close();
  }
}
