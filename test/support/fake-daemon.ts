/** The messages of a daemon to the page, set by a test. */
import type { DaemonView, KnownDrop, KnownFlip } from '#src/web/daemon-view.js';

export class FakeDaemon implements DaemonView {
  known: KnownDrop[] = [];
  flips: KnownFlip[] = [];
  moving = false;
  readonly #listeners = new Set<() => void>();

  async drops(): Promise<readonly KnownDrop[]> {
    return this.known;
  }

  async history(): Promise<readonly KnownFlip[]> {
    return this.flips;
  }

  isMoving(): boolean {
    return this.moving;
  }

  onChange(changed: () => void): () => void {
    this.#listeners.add(changed);
    return () => void this.#listeners.delete(changed);
  }

  get listeners(): number {
    return this.#listeners.size;
  }

  /** From now on this is what goes on. */
  set(...known: KnownDrop[]): void {
    this.known = known;
    for (const changed of this.#listeners) changed();
  }
}

export function knownDrop(
  drop: string,
  more: Partial<KnownDrop> & Pick<KnownDrop, 'kind' | 'state'>,
): KnownDrop {
  return { drop, sinceMs: Date.now(), repositories: [drop as never], ...more };
}
