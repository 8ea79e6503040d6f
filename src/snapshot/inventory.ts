/**
 * Which names the large directories of a snapshot have, in a few numbers: enough to tell that a
 * directory holds exactly what it is to hold without comparing 60,000 names, and changed name by name.
 * Two lists of names with one sum are not to be expected; nobody who could make some on purpose may
 * write where they are compared. Pure.
 */

/** Where a large repository has its files, below a snapshot. */
export const LARGE_DIRECTORIES = [
  'blobs',
  'manifests/oci',
  'manifests/oci-index',
  'manifests/1',
  'manifests/2',
  'manifests/list',
] as const;

const LARGE: ReadonlySet<string> = new Set(LARGE_DIRECTORIES);

export function isInLarge(path: string): boolean {
  return LARGE.has(directoryOf(path));
}

export class Inventory {
  readonly #counts: Map<string, number>;
  #sumA: number;
  #sumB: number;

  constructor(from?: Inventory) {
    this.#counts = new Map(from ? from.#counts : []);
    this.#sumA = from ? from.#sumA : 0;
    this.#sumB = from ? from.#sumB : 0;
  }

  /** Of each path once; those in other directories do not count. */
  add(path: string): void {
    this.#change(path, 1);
  }

  remove(path: string): void {
    this.#change(path, -1);
  }

  /** The large directories that have a file. */
  get directories(): string[] {
    return [...this.#counts].flatMap(([directory, count]) => (count > 0 ? directory : []));
  }

  get count(): number {
    return [...this.#counts.values()].reduce((sum, count) => sum + count, 0);
  }

  /** The same for the same names, in whatever order they came. */
  get sum(): string {
    const [a, b] = [this.#sumA, this.#sumB].map((each) => (each >>> 0).toString(16));
    return `${a}-${b}`;
  }

  #change(path: string, by: 1 | -1): void {
    const directory = directoryOf(path);
    if (!LARGE.has(directory)) return;
    this.#counts.set(directory, (this.#counts.get(directory) ?? 0) + by);
    let [a, b] = [0x811c9dc5, 0x9747b28c];
    for (let at = 0; at < path.length; at++) {
      const code = path.charCodeAt(at);
      // FNV-1a, and murmur's way of mixing with another start: two that do not go wrong together.
      a = Math.imul(a ^ code, 0x01000193);
      b = Math.imul((b << 5) ^ (b >>> 27) ^ code, 0x5bd1e995);
    }
    this.#sumA = (this.#sumA + by * (a >>> 0)) | 0;
    this.#sumB = (this.#sumB + by * ((b ^ (b >>> 15)) >>> 0)) | 0;
  }
}

function directoryOf(path: string): string {
  return path.slice(0, Math.max(path.lastIndexOf('/'), 0));
}
