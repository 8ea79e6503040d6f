/**
 * One snapshot of a repository, as clients are answered from it. A snapshot never changes, so what
 * was read once may be remembered; which snapshot is current is asked anew for every request.
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { LRUCache } from 'lru-cache';
import { exists, type OpenFile, openFile, readLink, readSmall } from '../disk/serving.js';
import { type Digest, digestFrom, isDigest } from '../image/digest.js';
import { MANIFEST_BYTES_MAX } from '../image/limits.js';
import { type ManifestKind, MEDIA_TYPES, manifestMediaType } from '../image/media-types.js';
import type { RepositoryId, RepositoryName, Tag } from '../image/names.js';
import { schema1Payload } from '../image/schema1.js';
import { pivotPath, snapshotOfTarget, snapshotPath, type TreeRoots } from '../publish/paths.js';
import { REMOVED_MARK, TAGS_LIST } from '../snapshot/render.js';

/** A manifest as it is stored. */
export interface ServedManifest {
  readonly kind: ManifestKind;
  readonly mediaType: string;
  readonly digest: Digest;
  readonly bytes: Buffer;
}

/** A text that dropdock made, and its own digest for a strong ETag. */
export interface ServedText {
  readonly bytes: Buffer;
  readonly digest: Digest;
}

const KINDS: readonly ManifestKind[] = ['oci', 'oci-index', '2', 'list', '1'];
/** 50,000 tags of 128 characters are 6.5 MB; a referrers list has 64 KiB for each of its entries. */
const TEXT_BYTES_MAX = 256 * 1024 * 1024;

type Remembered = readonly ServedManifest[] | ServedText | string;

/** What many ask for at once (a flip of 50,000 tags) is read and hashed once. */
interface Memory {
  readonly known: LRUCache<string, Remembered>;
  readonly reading: Map<string, Promise<Remembered | undefined>>;
}

export interface SnapshotsOptions {
  readonly roots: TreeRoots;
  /** What may be remembered, in bytes. */
  readonly rememberBytes: number;
}

/** The published tree, repository by repository. */
export class Snapshots {
  readonly #memory: Memory;

  constructor(readonly options: SnapshotsOptions) {
    const known = new LRUCache<string, Remembered>({
      maxSize: options.rememberBytes,
      sizeCalculation: (value, key) => key.length + sizeOf(value),
    });
    this.#memory = { known, reading: new Map() };
  }

  /** The snapshot that the pivot names now; undefined where no repository has this id. */
  async current(id: RepositoryId): Promise<SnapshotReader | undefined> {
    const target = await readLink(pivotPath(this.options.roots, id));
    const name = target === undefined ? undefined : snapshotOfTarget(id, target);
    if (name === undefined) return undefined;
    return new SnapshotReader(snapshotPath(this.options.roots, id, name), `${id}/${name}`, {
      id,
      name,
      memory: this.#memory,
    });
  }
}

export class SnapshotReader {
  constructor(
    readonly root: string,
    /** `<id>/<timestamp>` */
    readonly path: string,
    readonly of: {
      readonly id: RepositoryId;
      readonly name: string;
      readonly memory: Memory;
    },
  ) {}

  /** False for one that was cleaned away since the pivot named it. */
  exists(): Promise<boolean> {
    return exists(this.root);
  }

  /** Whose snapshot this is: ids can be given to another repository in the settings (I8). */
  async repository(): Promise<RepositoryName | undefined> {
    const name = await this.#remember('name', async () => {
      const { name } = JSON.parse((await this.tagsList())?.bytes.toString('utf8') ?? '{}');
      return typeof name === 'string' ? name : undefined;
    });
    return name as RepositoryName | undefined;
  }

  /** True for one that only keeps what pulls under way may still ask for, by digest. */
  async isRemoved(): Promise<boolean> {
    const mark = await this.#remember('removed', async () =>
      (await exists(join(this.root, REMOVED_MARK))) ? 'yes' : 'no',
    );
    return mark === 'yes';
  }

  /** The forms in which a tag can be had, or the manifest with this digest; none where unknown. */
  async manifests(reference: Digest | Tag): Promise<readonly ServedManifest[]> {
    const found = await this.#remember(`manifests/${reference}`, async () => {
      const all = await Promise.all(KINDS.map((kind) => this.#manifest(kind, reference)));
      const there = all.filter((each) => each !== undefined);
      // With redirect.oci: passthrough an OCI manifest lies under manifests/1 as well, for Crane.
      const [first] = there;
      const forms = there.filter((each) => each === first || each.digest !== first?.digest);
      return forms.length === 0 ? undefined : forms;
    });
    return (found ?? []) as readonly ServedManifest[];
  }

  async #manifest(
    kind: ManifestKind,
    reference: Digest | Tag,
  ): Promise<ServedManifest | undefined> {
    const bytes = await readSmall(
      join(this.root, 'manifests', kind, reference),
      MANIFEST_BYTES_MAX,
    );
    if (bytes === undefined) return undefined;
    const mediaType = manifestMediaType(kind, bytes);
    const digest = isDigest(reference) ? reference : await this.#digestOf(kind, mediaType, bytes);
    return { kind, mediaType, digest, bytes };
  }

  /** A tag's manifest is named by its digest beside it, which tells the algorithm. */
  async #digestOf(kind: ManifestKind, mediaType: string, bytes: Buffer): Promise<Digest> {
    const hashed =
      mediaType === MEDIA_TYPES.docker1signed
        ? schema1Payload(bytes, JSON.parse(bytes.toString('utf8')), kind)
        : bytes;
    const usual = hash('sha256', hashed);
    if (await exists(join(this.root, 'manifests', kind, usual))) return usual;
    const other = hash('sha512', hashed);
    return (await exists(join(this.root, 'manifests', kind, other))) ? other : usual;
  }

  /** The caller closes it. */
  blob(digest: Digest): Promise<OpenFile | undefined> {
    return openFile(join(this.root, 'blobs', digest));
  }

  tagsList(): Promise<ServedText | undefined> {
    return this.#text(TAGS_LIST);
  }

  referrers(subject: Digest): Promise<ServedText | undefined> {
    return this.#text(`referrers/${subject}`);
  }

  async #text(path: string): Promise<ServedText | undefined> {
    const found = await this.#remember(path, async () => {
      const bytes = await readSmall(join(this.root, path), TEXT_BYTES_MAX);
      return bytes && { bytes, digest: hash('sha256', bytes) };
    });
    return found as ServedText | undefined;
  }

  /** What is not there is not remembered: names nobody has would fill the memory. */
  async #remember(
    what: string,
    read: () => Promise<Remembered | undefined>,
  ): Promise<Remembered | undefined> {
    const key = `${this.path}/${what}`;
    const { known, reading } = this.of.memory;
    const found = known.get(key);
    if (found !== undefined) return found;
    const begun = reading.get(key) ?? read().finally(() => reading.delete(key));
    reading.set(key, begun);
    const value = await begun;
    if (value !== undefined) known.set(key, value);
    return value;
  }
}

function hash(algorithm: 'sha256' | 'sha512', bytes: Buffer): Digest {
  return digestFrom(algorithm, createHash(algorithm).update(bytes).digest('hex'));
}

function sizeOf(value: Remembered): number {
  if (typeof value === 'string') return value.length;
  if ('bytes' in value) return value.bytes.length;
  return value.reduce((sum, { bytes }) => sum + bytes.length + 200, 0);
}
