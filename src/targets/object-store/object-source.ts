/**
 * Serves the content of an object store to clients. Everything except the pointers is immutable, and is
 * cached.
 */
import { createHash } from 'node:crypto';
import { type Digest, digestAlgorithm, digestFrom } from '../../image/digest.js';
import type { RepositoryId, RepositoryName } from '../../image/names.js';
import { Memory } from '../../registry/read-once.js';
import type { Browse, ServedSnapshot, Source } from '../../registry/source.js';
import { SnapshotLookup } from '../../repository/lookup.js';
import { parseSnapshot } from '../../repository/snapshot-file.js';
import { type BlobStore, damaged } from './object-blob.js';
import { browseObjects } from './object-browse.js';
import { manifestKey, REPOSITORIES, snapshotKey } from './object-keys.js';
import { type Loaded, ObjectSnapshot } from './object-snapshot.js';
import type { ObjectStore } from './object-store.js';
import { Pointers } from './pointer-cache.js';
import { withRetry } from './retry-request.js';
import { SignedUrls } from './signed-urls.js';

export interface ObjectSourceOptions {
  readonly store: Pick<ObjectStore, 'get' | 'list' | 'presign'>;
  /** For blobs, whose transfer may take hours: they must not delay the small requests. */
  readonly blobs: BlobStore;
  /** How long a signed URL is valid. */
  readonly signedSeconds: number;
  /** How long a pointer is cached (ms). */
  readonly pointerAgeMs: number;
  /** How long the last known pointer is used while the store does not respond (ms). */
  readonly staleMs: number;
  /** Monotonic clock (ms). */
  readonly monotonicMs: () => number;
  readonly onAway: (trouble: Error | undefined) => void;
}

const SNAPSHOTS_BYTES = 256 * 1024 * 1024;
const MANIFESTS_BYTES = 64 * 1024 * 1024;
/** Estimated memory of a snapshot relative to its text, including responses generated from it. */
const SNAPSHOT_SHARE = 1.2;
/** A list of all repositories is cached for this multiple of the time it took. */
const LIST_SHARE = 5;

export class ObjectSource implements Source {
  readonly browse: Browse;
  readonly pointers: Pointers;
  readonly #signed: SignedUrls;
  readonly #snapshots = new Memory<Loaded>(SNAPSHOTS_BYTES, ({ bytes }) =>
    Math.ceil(bytes.length * SNAPSHOT_SHARE),
  );
  readonly #manifests = new Memory<Buffer>(MANIFESTS_BYTES, ({ length }) => length);
  #ids: Promise<readonly RepositoryId[]> | undefined;

  constructor(readonly options: ObjectSourceOptions) {
    const { store, pointerAgeMs, staleMs, monotonicMs, onAway } = options;
    this.pointers = new Pointers({ store, ageMs: pointerAgeMs, staleMs, monotonicMs, onAway });
    this.#signed = new SignedUrls(store, options.signedSeconds);
    this.browse = browseObjects(async (of) => {
      const loaded = await this.load(of);
      return loaded && parseSnapshot(loaded.bytes, snapshotKey(of.id, of.name));
    });
  }

  get blobs(): BlobStore {
    return this.options.blobs;
  }

  async current(id: RepositoryId): Promise<ServedSnapshot | undefined> {
    const askedMs = this.options.monotonicMs();
    const named = await this.pointers.current(id);
    if (named === undefined) return undefined;
    const confirm = () => this.pointers.confirmed(id, askedMs);
    return new ObjectSnapshot({ id, name: named.snapshot }, named, this, confirm);
  }

  async at(of: ServedSnapshot['of']): Promise<ServedSnapshot | undefined> {
    const loaded = await this.load(of);
    if (loaded === undefined) return undefined;
    const { repository, removed } = loaded.lookup.header;
    const named = {
      snapshot: of.name,
      repository: repository as RepositoryName,
      ...(removed && { removed }),
    };
    return new ObjectSnapshot(of, named, this, undefined);
  }

  /**
   * Lists again when the cached list has expired, in proportion to its cost; concurrent calls share one list.
   */
  ids(): Promise<readonly RepositoryId[]> {
    this.#ids ??= this.#list();
    return this.#ids;
  }

  async #list(): Promise<readonly RepositoryId[]> {
    const { store, monotonicMs, pointerAgeMs } = this.options;
    const beganMs = monotonicMs();
    const forget = () => {
      this.#ids = undefined;
    };
    try {
      const found: RepositoryId[] = [];
      for await (const { directories } of store.list(REPOSITORIES, { directories: true })) {
        found.push(...(directories as RepositoryId[]));
      }
      const tookMs = monotonicMs() - beganMs;
      setTimeout(forget, Math.max(pointerAgeMs, tookMs * LIST_SHARE)).unref();
      return found;
    } catch (error) {
      forget();
      throw error;
    }
  }

  /** Undefined for a deleted snapshot. @throws target.failed, layout.unsafe */
  load({ id, name }: ServedSnapshot['of']): Promise<Loaded | undefined> {
    const key = snapshotKey(id, name);
    return this.#snapshots.recall(key, async () => {
      const found = await withRetry(() => this.options.store.get(key));
      if (found === undefined || found === 'same') return undefined;
      const lookup = new SnapshotLookup(found.body, key);
      const { header } = lookup;
      if (header.id !== id || header.snapshot !== name) throw damaged(key, 'is another snapshot');
      return { lookup, bytes: found.body, texts: new Map() };
    });
  }

  /** @param digest the digest of its bytes @throws target.failed, layout.unsafe */
  manifest(digest: Digest): Promise<Buffer | undefined> {
    const key = manifestKey(digest);
    return this.#manifests.recall(key, async () => {
      const found = await withRetry(() => this.options.store.get(key));
      if (found === undefined || found === 'same') return undefined;
      const algorithm = digestAlgorithm(digest);
      const hash = createHash(algorithm).update(found.body).digest('hex');
      if (digestFrom(algorithm, hash) !== digest) throw damaged(key, 'does not match its name');
      return found.body;
    });
  }

  signedUrl(key: string): Promise<string> {
    return this.#signed.of(key);
  }
}
