/**
 * When a reader could see it: `web/<id>` resolves to another snapshot. inotify on `web/` wakes us
 * for each rename there, and one readlink tells; nothing is polled, so waiting costs nothing.
 */
import { type FSWatcher, readlinkSync, watch } from 'node:fs';
import { join } from 'node:path';

/** Against an event that is lost: it would only make a figure worse, not hang the bench. */
const LOOK_AGAIN_MS = 500;

export class Web {
  readonly #watcher: FSWatcher;
  readonly #waiting = new Set<() => void>();
  readonly #timer: NodeJS.Timeout;

  /** @param published where `web/` is */
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

  /** @returns the moment (performance.now) at which `id` led elsewhere than to `before` */
  moved(id: string, before: string | undefined, withinMs = 600_000): Promise<number> {
    return this.when(`a flip of ${id}`, () => this.target(id) !== before, withinMs);
  }

  /** @returns the moment at which it was so; it is asked at each rename below `web/` */
  when(what: string, isSo: () => boolean, withinMs = 600_000): Promise<number> {
    return new Promise((resolve, reject) => {
      const end = performance.now() + withinMs;
      const look = () => {
        const now = performance.now();
        if (!isSo()) {
          if (now < end) return;
          reject(new Error(`${what} did not come`));
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
