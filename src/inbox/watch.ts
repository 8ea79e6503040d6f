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

export class InboxWatch {
  readonly #watcher: FSWatcher;
  readonly #watched = new Set<string>();

  /**
   * @param onHint something happened there; look
   * @param onError events may be missing from now on; scans go on
   */
  constructor(
    readonly inbox: string,
    onHint: (hint: Hint) => void,
    onError: (error: Error) => void,
  ) {
    this.#watcher = new FSWatcher({
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
    this.#watcher.on('raw', (_event, _name, details) => {
      const { watchedPath } = details as { watchedPath?: string };
      if (watchedPath) onHint({ directory: watchedPath.slice(inbox.length + 1) });
    });
    this.#watcher.on('error', (error) => onError(error as Error));
  }

  /** @param directories below the inbox. @returns true when some of them were not watched before */
  follow(directories: readonly string[]): boolean {
    const wanted = new Set(directories.map((directory) => join(this.inbox, directory)));
    for (const path of this.#watched) {
      if (wanted.has(path)) continue;
      this.#watched.delete(path);
      this.#watcher.unwatch(path);
    }
    const added = [...wanted].filter((path) => !this.#watched.has(path));
    for (const path of added) this.#watched.add(path);
    if (added.length > 0) this.#watcher.add(added);
    return added.length > 0;
  }

  async close(): Promise<void> {
    await this.#watcher.close();
  }
}
