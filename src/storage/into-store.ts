/**
 * Brings content into the content store: writes all files, syncs them, renames them to their names, and syncs
 * each directory once. Content brought in together needs fewer waits for the disk (60 files and their names
 * one by one: 60 commits of the journal).
 */
import { randomBytes } from 'node:crypto';
import { dirname, join } from 'node:path';
import type { BlobToIngest } from './blob-bytes.js';
import type { Disk } from './disk.js';
import { discard, removeIfThere } from './durable.js';
import { FreshFiles } from './fresh-files.js';
import type { InsideDirectory } from './inside-directory.js';
import { job } from './job.js';
import {
  type BytesToStore,
  type Ingested,
  isStored,
  moveIntoStore,
  type Placed,
  STORED_MODE,
} from './stored.js';
import { placeBlob, placeFrom } from './verified-copy.js';

export interface IntoStoreOptions {
  /** A private directory on the same filesystem, where everything is written first. */
  readonly place: string;
  /** Approximate number of files. */
  readonly expected: number;
}

export class IntoStore {
  /** Files to be renamed to their names. */
  readonly #placed: Placed[] = [];
  readonly #series = randomBytes(8).toString('hex');
  #serial = 0;

  private constructor(
    readonly disk: Disk,
    readonly place: string,
    readonly files: FreshFiles,
  ) {}

  /** Runs `use`. When this returns, everything it brought is in the store; when it throws, nothing is. */
  static use<T>(disk: Disk, options: IntoStoreOptions, use: (into: IntoStore) => T): T {
    const placed: Placed[] = [];
    try {
      const result = FreshFiles.use(disk, options, (files) => {
        const into = new IntoStore(disk, options.place, files);
        try {
          return use(into);
        } finally {
          placed.push(...into.#placed);
        }
      });
      moveIntoStore(disk, placed);
      return result;
    } catch (error) {
      for (const { temporary } of placed) discard(() => removeIfThere(disk, temporary));
      throw error;
    }
  }

  /** Stores bytes that were hashed in memory: manifests, and inline blobs. */
  bytes({ bytes, destination }: BytesToStore): Ingested {
    if (isStored(this.disk, destination, bytes.length)) return 'present';
    const temporary = this.temporary();
    this.#placed.push({ temporary, destination });
    this.files.write(temporary, bytes, { mode: STORED_MODE });
    return 'copied';
  }

  /**
   * @param inside the directory that holds it, when it is open
   * @throws as `placeBlob`
   */
  blob(blob: BlobToIngest, inside?: InsideDirectory): Ingested {
    this.#placed.push(blob);
    const way =
      inside?.root === blob.root
        ? placeFrom(inside, blob, this.files)
        : placeBlob(this.disk, blob, this.files);
    if (way === 'present') this.#placed.pop();
    return way;
  }

  /** Keeps all that `bring` brings or, when it fails, none of it. Other content is not affected. */
  together<T>(bring: () => T): T {
    const before = this.#placed.length;
    try {
      return bring();
    } catch (error) {
      for (const { temporary } of this.#placed.splice(before)) {
        discard(() => removeIfThere(this.disk, temporary));
      }
      throw error;
    }
  }

  /** Returns a temporary name. */
  temporary(): string {
    return join(this.place, `${this.#series}-${this.#serial++}`);
  }
}

/**
 * Stores one blob.
 * @throws as `placeBlob`
 */
export function ingestBlob(disk: Disk, blob: BlobToIngest): Ingested {
  const [way] = ingestRequest(disk, { blobs: [blob] });
  return way ?? 'present';
}

/** Stores several blobs, as a job. */
export const ingestRequest = job(
  'hash',
  import.meta.url,
  function ingestRequest(
    disk: Disk,
    { blobs }: { readonly blobs: readonly BlobToIngest[] },
  ): Ingested[] {
    const [first] = blobs;
    if (first === undefined) return [];
    const options = { place: dirname(first.temporary), expected: blobs.length };
    return IntoStore.use(disk, options, (into) => blobs.map((blob) => into.blob(blob)));
  },
);

/**
 * Stores bytes that were hashed in memory.
 * @param place as in the options
 */
export function ingestBytes(
  disk: Disk,
  bytes: Uint8Array,
  destination: string,
  place: string,
): Ingested {
  return IntoStore.use(disk, { place, expected: 1 }, (into) => into.bytes({ bytes, destination }));
}

/** Stores many items at once. */
export function ingestAllBytes(disk: Disk, items: readonly BytesToStore[], place: string): void {
  if (items.length === 0) return;
  IntoStore.use(disk, { place, expected: items.length }, (into) => {
    for (const item of items) into.bytes(item);
  });
}
