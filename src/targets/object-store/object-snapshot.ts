/**
 * One snapshot in an object store. Only objects that it lists are requested (I8), so a listed object that the
 * store does not have is reported as damage, never as unknown.
 */
import { type Digest, digestAlgorithm } from '../../image/digest.js';
import { digestOfBytes, manifestDigest } from '../../image/manifest-digest.js';
import type { ManifestKind } from '../../image/media-types.js';
import type { RepositoryName, Tag } from '../../image/names.js';
import type {
  ServedBlob,
  ServedManifest,
  ServedSnapshot,
  ServedText,
} from '../../registry/source.js';
import type { FoundForm, SnapshotLookup } from '../../repository/lookup.js';
import { type BlobPlace, damaged, ObjectBlob } from './object-blob.js';
import { manifestKey, snapshotKey } from './object-keys.js';
import type { Named } from './pointer-cache.js';

/** A loaded snapshot. */
export interface Loaded {
  readonly lookup: SnapshotLookup;
  readonly bytes: Buffer;
  /** Responses generated from it, by name. */
  readonly texts: Map<string, ServedText>;
}

/** The source of a snapshot. */
export interface Place extends BlobPlace {
  load(of: ServedSnapshot['of']): Promise<Loaded | undefined>;
  manifest(digest: Digest): Promise<Buffer | undefined>;
}

export class ObjectSnapshot implements ServedSnapshot {
  readonly path: string;
  /** A listed object that the store did not have. */
  #missing: string | undefined;

  constructor(
    readonly of: ServedSnapshot['of'],
    readonly named: Named,
    readonly place: Place,
    /** Reads what is current now; undefined for a snapshot requested by name. */
    readonly confirm: (() => Promise<Named | undefined>) | undefined,
  ) {
    this.path = `${of.id}/${of.name}`;
  }

  async stands(): Promise<boolean> {
    const now = this.confirm ? await this.confirm() : this.named;
    if (now?.snapshot !== this.of.name) return false;
    if (this.#missing !== undefined) throw damaged(this.#missing, 'is missing');
    return true;
  }

  /** The text is complete as soon as it is loaded. */
  async exists(): Promise<boolean> {
    return this.#missing === undefined;
  }

  async repository(): Promise<RepositoryName> {
    return this.named.repository;
  }

  async isRemoved(): Promise<boolean> {
    return this.named.removed === true;
  }

  async manifests(reference: Digest | Tag): Promise<readonly ServedManifest[]> {
    const forms = (await this.#load())?.lookup.forms(reference) ?? [];
    return forms.map((form) => this.#manifest(form));
  }

  #manifest(form: FoundForm): ServedManifest {
    const { kind, mediaType } = form;
    if ('text' in form) {
      const { bytes, digest } = toServed(form.text);
      return { kind, mediaType, digest, read: async () => bytes };
    }
    const { digest, stored } = form;
    const read = async () => {
      const bytes = await this.place.manifest(stored);
      if (bytes === undefined) this.#missing = manifestKey(stored);
      else if (stored !== digest) checkName(bytes, kind, digest);
      return bytes;
    };
    return { kind, mediaType, digest, read };
  }

  async blob(digest: Digest): Promise<ServedBlob | undefined> {
    const size = (await this.#load())?.lookup.blobSize(digest);
    return size === undefined ? undefined : new ObjectBlob(digest, size, this.place);
  }

  async tagsList(): Promise<ServedText | undefined> {
    return this.#text('tags', ({ lookup }) => lookup.tagsList());
  }

  async referrers(subject: Digest): Promise<ServedText | undefined> {
    return this.#text(subject, ({ lookup }) => lookup.referrers(subject));
  }

  /** Generates and hashes a response once per snapshot. */
  async #text(
    name: string,
    make: (loaded: Loaded) => string | undefined,
  ): Promise<ServedText | undefined> {
    const loaded = await this.#load();
    const known = loaded?.texts.get(name);
    if (loaded === undefined || known !== undefined) return known;
    const text = make(loaded);
    if (text === undefined) return undefined;
    const served = toServed(text);
    loaded.texts.set(name, served);
    return served;
  }

  async #load(): Promise<Loaded | undefined> {
    const loaded = await this.place.load(this.of);
    if (loaded === undefined) this.#missing = snapshotKey(this.of.id, this.of.name);
    return loaded;
  }
}

/** `manifest()` has checked the bytes against `stored`; the digest of a signed schema 1 manifest differs. */
function checkName(bytes: Buffer, kind: ManifestKind, digest: Digest): void {
  const key = manifestKey(digest);
  let found: Digest;
  try {
    found = manifestDigest(bytes, kind, digestAlgorithm(digest), key);
  } catch (error) {
    throw damaged(key, 'does not match its name', error as Error);
  }
  if (found !== digest) throw damaged(key, 'does not match its name');
}

function toServed(text: string): ServedText {
  const bytes = Buffer.from(text);
  return { bytes, digest: digestOfBytes('sha256', bytes) };
}
