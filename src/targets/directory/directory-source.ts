/** The published tree as a source for the registry endpoint. */
import { join } from 'node:path';
import { DropdockError } from '../../errors.js';
import { type Digest, digestAlgorithm, isDigest } from '../../image/digest.js';
import { MANIFEST_BYTES_MAX } from '../../image/limits.js';
import { digestOfBytes, namedBytes } from '../../image/manifest-digest.js';
import { type ManifestKind, manifestKind, manifestMediaType } from '../../image/media-types.js';
import type { RepositoryId, RepositoryName, Tag } from '../../image/names.js';
import type { Body, Part } from '../../registry/body.js';
import { Memory } from '../../registry/read-once.js';
import type {
  Browse,
  ServedBlob,
  ServedManifest,
  ServedSnapshot,
  ServedText,
  Source,
} from '../../registry/source.js';
import { SnapshotLookup } from '../../repository/lookup.js';
import { REMOVED_MARK, SNAPSHOT_FILE, TAGS_LIST } from '../../repository/render.js';
import type { RunJob } from '../../storage/job.js';
import {
  exists,
  listVisible,
  type OpenFile,
  openFile,
  readLink,
  readSmall,
} from '../../storage/serving.js';
import {
  pivotPath,
  snapshotOfTarget,
  snapshotPath,
  type TreeRoots,
  webDirectory,
} from '../../storage/tree-paths.js';
import { snapshotChanges, snapshotFacts, snapshotSummary } from './browse.js';

const KINDS: readonly ManifestKind[] = ['oci', 'oci-index', '2', 'list', '1'];
/** 50,000 tags of 128 characters are 6.5 MB; a referrers list has 64 KiB for each of its entries. */
const TEXT_BYTES_MAX = 256 * 1024 * 1024;

type Remembered = readonly StoredManifest[] | ServedText | string;

export interface DirectoryOptions {
  readonly roots: TreeRoots;
  readonly run: RunJob;
  /** Cache size in bytes. */
  readonly rememberBytes: number;
}

export class DirectorySource implements Source {
  readonly #memory: Memory<Remembered>;
  readonly browse: Browse;

  constructor(readonly options: DirectoryOptions) {
    const { roots, run } = options;
    // Large files are read on a separate thread.
    this.browse = {
      facts: ({ id, name }) => run(snapshotFacts, { roots, id, snapshot: name }),
      summary: ({ id, name }) => run(snapshotSummary, { roots, id, snapshot: name }),
      changes: ({ id, name }, count) => run(snapshotChanges, { roots, id, snapshot: name, count }),
    };
    // After a flip many clients ask for the same files at once (up to 50,000 tags); each is read and hashed
    // once.
    this.#memory = new Memory(options.rememberBytes, sizeOf);
  }

  async ids(): Promise<readonly RepositoryId[]> {
    return (await listVisible(webDirectory(this.options.roots))) as RepositoryId[];
  }

  /** Returns the snapshot that the pivot names. */
  async current(id: RepositoryId): Promise<DirectorySnapshot | undefined> {
    const target = await readLink(pivotPath(this.options.roots, id));
    const name = target === undefined ? undefined : snapshotOfTarget(id, target);
    return name && this.#open({ id, name });
  }

  async at(of: ServedSnapshot['of']): Promise<DirectorySnapshot> {
    return this.#open(of);
  }

  #open({ id, name }: ServedSnapshot['of']): DirectorySnapshot {
    return new DirectorySnapshot(snapshotPath(this.options.roots, id, name), `${id}/${name}`, {
      id,
      name,
      memory: this.#memory,
    });
  }
}

export class DirectorySnapshot implements ServedSnapshot {
  constructor(
    readonly root: string,
    readonly path: string,
    readonly of: ServedSnapshot['of'] & { readonly memory: Memory<Remembered> },
  ) {}

  /** A snapshot is complete when the pivot names it, and it is deleted as a whole. */
  stands(): Promise<boolean> {
    return this.exists();
  }

  exists(): Promise<boolean> {
    return exists(this.root);
  }

  async repository(): Promise<RepositoryName | undefined> {
    const name = await this.#remember('name', async () => {
      const { name } = JSON.parse((await this.tagsList())?.bytes.toString('utf8') ?? '{}');
      return typeof name === 'string' ? name : undefined;
    });
    return name as RepositoryName | undefined;
  }

  async isRemoved(): Promise<boolean> {
    const mark = await this.#remember('removed', async () =>
      (await exists(join(this.root, REMOVED_MARK))) ? 'yes' : 'no',
    );
    return mark === 'yes';
  }

  async manifests(reference: Digest | Tag): Promise<readonly ServedManifest[]> {
    const found = await this.#remember(`manifests/${reference}`, async () => {
      const all = await Promise.all(KINDS.map((kind) => this.#manifest(kind, reference)));
      const there = all.filter((each) => each !== undefined);
      // With redirect.oci: passthrough an OCI manifest is also under manifests/1, for Crane.
      const [first] = there;
      const forms = there.filter((each) => each === first || each.digest !== first?.digest);
      return forms.length === 0 ? undefined : forms;
    });
    return (found ?? []) as readonly StoredManifest[];
  }

  async #manifest(
    kind: ManifestKind,
    reference: Digest | Tag,
  ): Promise<StoredManifest | undefined> {
    const bytes = await readSmall(
      join(this.root, 'manifests', kind, reference),
      MANIFEST_BYTES_MAX,
    );
    if (bytes === undefined) return undefined;
    const mediaType = manifestMediaType(kind, bytes);
    const named = this.#namedBytes(`manifests/${kind}/${reference}`, mediaType, bytes);
    const digest = isDigest(reference)
      ? this.#checked(reference, named)
      : await this.#digestOf(kind, reference, named.bytes);
    return new StoredManifest(kind, mediaType, digest, bytes);
  }

  /**
   * Returns the bytes that a client hashes to check the manifest: the whole file, except for signed schema 1.
   * @throws layout.unsafe for a manifest published by an older version under the wrong signature
   */
  #namedBytes(path: string, mediaType: string, bytes: Buffer): { path: string; bytes: Buffer } {
    try {
      return { path, bytes: namedBytes(bytes, manifestKind(mediaType) ?? 'oci', path) };
    } catch (cause) {
      throw damaged(`${this.path}/${path}`, cause);
    }
  }

  /** Only in schema 1 the name differs from the digest of the file, so no other check finds a wrong name. */
  #checked(digest: Digest, { path, bytes }: { path: string; bytes: Buffer }): Digest {
    if (!path.startsWith('manifests/1/')) return digest;
    if (digestOfBytes(digestAlgorithm(digest), bytes) === digest) return digest;
    throw damaged(`${this.path}/${path}`);
  }

  /**
   * The manifest of a tag is also stored under its digest, and that name shows the algorithm. When the same
   * bytes are stored under both algorithms, the snapshot says which one the tag points to.
   */
  async #digestOf(kind: ManifestKind, tag: Tag, named: Buffer): Promise<Digest> {
    const usual = digestOfBytes('sha256', named);
    const other = digestOfBytes('sha512', named);
    const beside = (digest: Digest) => exists(join(this.root, 'manifests', kind, digest));
    if (!(await beside(other))) return usual;
    if (!(await beside(usual))) return other;
    const text = await readSmall(join(this.root, SNAPSHOT_FILE), TEXT_BYTES_MAX);
    const forms = text ? new SnapshotLookup(text, `${this.path}/${SNAPSHOT_FILE}`).forms(tag) : [];
    return forms.some((form) => 'digest' in form && form.digest === other) ? other : usual;
  }

  async blob(digest: Digest): Promise<ServedBlob | undefined> {
    const file = await openFile(join(this.root, 'blobs', digest));
    return file && new FileBlob(file);
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
      return bytes && { bytes, digest: digestOfBytes('sha256', bytes) };
    });
    return found as ServedText | undefined;
  }

  #remember(
    what: string,
    read: () => Promise<Remembered | undefined>,
  ): Promise<Remembered | undefined> {
    return this.of.memory.recall(`${this.path}/${what}`, read);
  }
}

class StoredManifest implements ServedManifest {
  constructor(
    readonly kind: ManifestKind,
    readonly mediaType: string,
    readonly digest: Digest,
    readonly bytes: Buffer,
  ) {}

  async read(): Promise<Buffer> {
    return this.bytes;
  }
}

export class FileBlob implements ServedBlob {
  constructor(readonly file: OpenFile) {}

  get size(): number {
    return this.file.size;
  }

  async send(part: Part): Promise<Body> {
    return { file: this.file, ...part };
  }

  async pieces(parts: readonly Part[]): Promise<AsyncIterable<Buffer>> {
    return this.file.pieces(...parts);
  }

  readAll(): Promise<Buffer> {
    return this.file.readAll();
  }

  close(): Promise<void> {
    return this.file.close();
  }
}

function damaged(path: string, cause?: unknown): DropdockError {
  return new DropdockError(
    'layout.unsafe',
    `The content of '${path}' does not match its name.`,
    { path },
    cause,
  );
}

function sizeOf(value: Remembered): number {
  if (typeof value === 'string') return value.length;
  if ('bytes' in value) return value.bytes.length;
  return value.reduce((sum, { bytes }) => sum + bytes.length + 200, 0);
}
