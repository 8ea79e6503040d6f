/**
 * Watches the inbox to trigger scans early. Nothing depends on events: chokidar was measured to lose them
 * silently. Only directories in which drops may appear are watched, not their contents, so a drop of 100,000
 * files needs no watch. The only file that uses chokidar.
 */
import { dirname, join } from 'node:path';
import { FSWatcher } from 'chokidar';
import { hasErrno } from '../errors.js';
import type { Missing } from '../image/staged-content.js';
import { type PathWatch, watchPath } from '../storage/watch-path.js';
import type { Observation } from './scan.js';

export interface Hint {
  /** The directory of the event, relative to the inbox. */
  readonly directory: string;
}

/** First scan at once; then repeated when as much time has passed again. */
const AGAIN_MS_MIN = 20;
/** After this time a new watch is established even on a busy host. */
const DOUBT_MS_MAX = 10_000;
/** Most places watched for waiting drops; more wait for the next scan. */
const PLACES_MAX = 1000;

/**
 * A watcher without listing. After an event chokidar lists the directory and stats every entry to find what
 * is new: this took a third of the main thread's time while 1,000 drops arrived. A scan does that; here the
 * event is enough.
 */
class EventsOnly extends FSWatcher {
  override _throttle(
    ...given: Parameters<FSWatcher['_throttle']>
  ): ReturnType<FSWatcher['_throttle']> {
    // chokidar skips what is throttled.
    return given[0] === 'readdir' ? false : super._throttle(...given);
  }
}

export class InboxWatch {
  readonly #watcher: FSWatcher;
  readonly #watched = new Set<string>();
  /** Waiting drops, with their watches. */
  readonly #awaited = new Map<string, readonly PathWatch[]>();
  #places = 0;
  /** When a directory began to be watched (monotonic clock). */
  #freshMs = Number.NEGATIVE_INFINITY;

  /**
   * @param onHint called after an event: scan now
   * @param onError called when events may be missing from now on; scans continue
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
      // Ignores everything but the directories; chokidar's own tracking of files is not used.
      ignored: (path) => !this.#watched.has(path),
    });
    // The raw event comes directly from the kernel, before chokidar processes it.
    this.#watcher.on('raw', (_event, name, details) => {
      // Own directories, and temporary files that tools rename when complete: no drop has such a name.
      if (name?.startsWith('.')) return;
      const { watchedPath } = details as { watchedPath?: string };
      if (watchedPath) onHint({ directory: watchedPath.slice(inbox.length + 1) });
    });
    this.#watcher.on('error', (error) => onError(error as Error));
  }

  /**
   * Watches these directories and no others. chokidar does not report when a watch is established, so earlier
   * changes are found by scanning again, with growing delays.
   * @param directories relative to the inbox
   * @param nowMs monotonic clock
   * @returns in how many milliseconds to scan again; Infinity when every watch is established
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
   * Makes the next change of a waiting drop trigger a scan. Nothing else inside a drop is watched. A file
   * that was claimed and returned while its writer has it open has no events in the inbox: the kernel reports
   * them under the claimed name.
   * @param places paths of the drop relative to the inbox: a file, or directories in which something is
   *   missing
   * @returns true when the watch is new; changes before it need another scan
   */
  awaitChange(drop: string, places: readonly string[]): boolean {
    if (this.#awaited.has(drop)) return false;
    const watchers = places.slice(0, PLACES_MAX - this.#places).flatMap((place) => {
      try {
        // One event is enough: the drop is then scanned until it is quiet again.
        const onChange = () => {
          if (this.#forget(drop)) this.onHint({ directory: place });
        };
        return watchPath(join(this.inbox, place), { onChange, onError: this.onError });
      } catch (error) {
        // A missing place will be created in a watched directory; the others are found by scans.
        if (!hasErrno(error, 'ENOENT', 'ENOTDIR', 'EACCES')) this.onError(error as Error);
        return [];
      }
    });
    this.#awaited.set(drop, watchers);
    this.#places += watchers.length;
    return watchers.length > 0;
  }

  /** Stops watching drops that no longer wait. */
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

/** Limit of watched directories for one drop; an image layout has three. */
const PLACES_PER_DROP_MAX = 20;

/**
 * Finds the paths where the missing content of an incomplete drop will appear. Pure.
 *
 * @returns paths below the inbox: the archive, or the directories in which files are missing
 */
export function placesToWatch(
  { path, kind }: Pick<Observation, 'path' | 'kind'>,
  missing: readonly Pick<Missing, 'path'>[],
): readonly string[] {
  if (kind === 'file') return [path];
  const places = new Set([path]);
  for (const { path: file } of missing) {
    if (places.size >= PLACES_PER_DROP_MAX) break;
    const place = join(path, dirname(file));
    if (place.startsWith(`${path}/`)) places.add(place);
  }
  return [...places];
}
