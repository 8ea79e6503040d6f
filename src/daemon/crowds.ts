/** Who waits for others to be gone, by name; nobody waits for long. */

interface Crowd {
  size: number;
  readonly waiting: Set<() => void>;
}

export class Crowds {
  readonly #crowds = new Map<string, Crowd>();

  /** @param mostMs nobody waits longer */
  constructor(readonly mostMs: number) {}

  enter(name: string | undefined): void {
    if (name === undefined) return;
    const crowd = this.#crowds.get(name) ?? { size: 0, waiting: new Set() };
    crowd.size++;
    this.#crowds.set(name, crowd);
  }

  leave(name: string | undefined): void {
    const crowd = name === undefined ? undefined : this.#crowds.get(name);
    if (name === undefined || crowd === undefined || --crowd.size > 0) return;
    this.#crowds.delete(name);
    for (const go of crowd.waiting) go();
  }

  /** Undefined where nobody is there. */
  gone(name: string): Promise<void> | undefined {
    const crowd = this.#crowds.get(name);
    if (crowd === undefined) return undefined;
    return new Promise((resolve) => {
      const go = () => {
        clearTimeout(timer);
        crowd.waiting.delete(go);
        // Whoever left last is on his way here.
        setImmediate(resolve);
      };
      const timer = setTimeout(go, this.mostMs);
      crowd.waiting.add(go);
    });
  }
}
