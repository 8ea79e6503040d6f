/**
 * Detects when a reader can see a publish: `web/<id>` resolves to another snapshot. inotify on `web/` reports
 * each rename, and one readlink checks it; without polling, waiting costs nothing.
 */
import { type FSWatcher, readlinkSync, watch } from 'node:fs';
import { join } from 'node:path';

/** Protects against a lost event: it would only worsen a figure instead of blocking the benchmark. */
const LOOK_AGAIN_MS = 500;

export class Web {
  readonly #watcher: FSWatcher;
  readonly #waiting = new Set<() => void>();
  readonly #timer: NodeJS.Timeout;

  /** @param published the directory that contains `web/` */
  constructor(readonly published: string) {
    const look = () => {
      for (const each of this.#waiting) each();
    };
    this.#watcher = watch(join(published, 'web'), look);
    this.#timer = setInterval(look, LOOK_AGAIN_MS);
  }

  target(id: string): string | undefined {
    try {
      return readlinkSync(join(this.published, 'web', id));
    } catch {
      return undefined;
    }
  }

  /** @returns the time (performance.now) at which `id` no longer resolved to `before` */
  moved(id: string, before: string | undefined, withinMs = 600_000): Promise<number> {
    return this.when(`a flip of ${id}`, () => this.target(id) !== before, withinMs);
  }

  /** @returns the time at which `isSo` was true; it is checked at each rename below `web/` */
  when(what: string, isSo: () => boolean, withinMs = 600_000): Promise<number> {
    return new Promise((resolve, reject) => {
      const end = performance.now() + withinMs;
      const look = () => {
        const now = performance.now();
        if (!isSo()) {
          if (now < end) return;
          reject(new Error(`timeout while waiting for ${what}`));
        }
        this.#waiting.delete(look);
        resolve(now);
      };
      this.#waiting.add(look);
      look();
    });
  }

  close(): void {
    this.#watcher.close();
    clearInterval(this.#timer);
  }
}
