/**
 * Converts OCI images to Docker form, for Crane and for clients without OCI support (redirect.oci: convert).
 * The blobs stay the same. The manifest is rewritten, so it has another digest, and signatures are valid for
 * the original only. Pure and deterministic: the same original gives the same result on every host.
 */
import { createHash } from 'node:crypto';
import { faultOf } from '../errors.js';
import { type Digest, digestFrom } from '../image/digest.js';
import { MANIFEST_BYTES_MAX } from '../image/limits.js';
import { type Manifest, parseManifest } from '../image/manifest.js';
import {
  dockerLayerType,
  isIndexKind,
  type ManifestKind,
  MEDIA_TYPES,
  manifestKind,
} from '../image/media-types.js';
import type { LeftOut } from '../image/staged-content.js';
import { type ManifestRecord, type RepositoryState, toManifestRecord } from './state.js';
import { changedKeys } from './state-change.js';

export interface Converted {
  readonly digest: Digest;
  readonly bytes: Buffer;
  readonly record: ManifestRecord;
}

export interface ConversionInput {
  readonly manifests: ReadonlyMap<Digest, ManifestRecord>;
  /** Returns the bytes of a manifest in the snapshot. */
  readonly load: (digest: Digest) => Buffer;
}

export interface ConversionResult {
  readonly conversions: ReadonlyMap<Digest, Digest | null>;
  readonly made: readonly Converted[];
  readonly leftOut: readonly LeftOut[];
}

/**
 * Returns the manifests to convert: everything that tags point to. If the state before `after` is known with
 * all its Docker forms, only new manifests, and each index that has gained an image.
 */
export function wantedSince(before: RepositoryState | undefined, after: RepositoryState): Digest[] {
  if (before === undefined || before.conversions !== after.conversions) {
    return Array.from(after.tags.values(), ({ digest }) => digest);
  }
  const manifests = changedKeys(before.manifests, after.manifests);
  for (let size = -1; size < manifests.size; ) {
    size = manifests.size;
    for (const [digest, { children }] of after.manifests) {
      if (children.some((child) => manifests.has(child.digest))) manifests.add(digest);
    }
  }
  const tags = changedKeys(before.tags, after.tags);
  const wanted: Digest[] = [];
  for (const [tag, { digest }] of after.tags) {
    if (tags.has(tag) || manifests.has(digest)) wanted.push(digest);
  }
  return wanted;
}

/** Converts these manifests and their children, if they are OCI and not in `known` yet. */
export function convertAll(
  wanted: Iterable<Digest>,
  known: ReadonlyMap<Digest, Digest | null>,
  input: ConversionInput,
): ConversionResult {
  const run = new Conversion(new Map(known), input);
  for (const digest of wanted) run.convert(digest);
  const { conversions, made, leftOut } = run;
  return { conversions, made, leftOut };
}

class Conversion {
  readonly #made = new Map<Digest, Converted>();
  readonly leftOut: LeftOut[] = [];

  constructor(
    readonly conversions: Map<Digest, Digest | null>,
    readonly input: ConversionInput,
  ) {}

  get made(): Converted[] {
    return [...this.#made.values()];
  }

  /** @returns the digest of the Docker form; null if there is none */
  convert(digest: Digest): Digest | null {
    const record = this.input.manifests.get(digest);
    if (record === undefined) return null;
    const kind = manifestKind(record.mediaType);
    if (kind === '2') return digest;
    if (kind !== 'oci' && kind !== 'oci-index') return null;
    const known = this.conversions.get(digest);
    if (known !== undefined && this.#stillHolds(record, known)) return known;
    const converted = isIndexKind(kind)
      ? this.#convertIndex(digest, record)
      : this.#convertImage(digest, record);
    this.conversions.set(digest, converted ?? null);
    return converted ?? null;
  }

  #convertImage(digest: Digest, record: ManifestRecord): Digest | undefined {
    const manifest = this.#parse(digest, record);
    if (manifest === undefined) return undefined;
    const document = this.#toSchema2(manifest, digest);
    const named = new Set([manifest.config, ...manifest.layers].map((each) => each?.digest));
    const blobs = record.blobs.filter((blob) => named.has(blob.digest));
    const form = { mediaType: MEDIA_TYPES.docker2, blobs, children: [] };
    return document && this.#keep(digest, document, ({ length: size }) => ({ ...form, size }));
  }

  #convertIndex(original: Digest, record: ManifestRecord): Digest | undefined {
    const index = this.#parse(original, record);
    const document = index && this.#toList(index, this.input.load(original), original);
    const sizes = new Map(record.blobs.map(({ digest, size }) => [digest, size]));
    const recordOf = (form: Buffer, digest: Digest) =>
      toManifestRecord(
        { manifest: parseManifest(form, undefined, digest), size: form.length },
        sizes,
      );
    return document && this.#keep(original, document, recordOf);
  }

  /** A manifest published by an older version and invalid today must not block the rest of the repository. */
  #parse(digest: Digest, { mediaType }: ManifestRecord): Manifest | undefined {
    try {
      return parseManifest(this.input.load(digest), mediaType, digest);
    } catch (error) {
      if (faultOf(error) !== 'content') throw error;
      return this.#leaveOut(digest, (error as Error).message);
    }
  }

  /** The Docker form of an index contains the images that existed then; more may have been added since. */
  #stillHolds({ mediaType, children }: ManifestRecord, known: Digest | null): boolean {
    if (manifestKind(mediaType) !== 'oci-index') return true;
    const { manifests } = this.input;
    const expected = children
      .filter(({ digest, platform }) => platform && manifests.has(digest) && isReal(platform))
      .flatMap(({ digest }) => this.convert(digest) ?? [])
      .filter((digest) => this.#kindOf(digest) === '2');
    const made = known === null ? [] : manifests.get(known)?.children.map(({ digest }) => digest);
    return made?.join() === expected.join();
  }

  #keep(
    original: Digest,
    document: object,
    recordOf: (bytes: Buffer, digest: Digest) => ManifestRecord,
  ): Digest | undefined {
    const bytes = Buffer.from(JSON.stringify(document, undefined, 3));
    if (bytes.length > MANIFEST_BYTES_MAX) {
      return this.#leaveOut(original, 'its Docker form is larger than clients accept');
    }
    const digest = digestFrom('sha256', createHash('sha256').update(bytes).digest('hex'));
    this.#made.set(digest, { digest, bytes, record: recordOf(bytes, digest) });
    return digest;
  }

  #toSchema2({ config, layers }: Manifest, digest: Digest): object | undefined {
    if (config?.mediaType !== MEDIA_TYPES.ociConfig) {
      return this.#leaveOut(digest, 'an artifact has no Docker form');
    }
    const converted: object[] = [];
    for (const layer of layers) {
      const mediaType = dockerLayerType(layer.mediaType);
      if (mediaType === undefined) {
        return this.#leaveOut(digest, `Docker schema 2 has no media type for ${layer.mediaType}`);
      }
      const { size, urls } = layer;
      converted.push({ mediaType, size, digest: layer.digest, ...(urls && { urls }) });
    }
    return {
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.docker2,
      config: { mediaType: MEDIA_TYPES.dockerConfig, size: config.size, digest: config.digest },
      layers: converted,
    };
  }

  /** A manifest list contains images only: attestations, artifacts and nested indexes are left out. */
  #toList(index: Manifest, bytes: Buffer, digest: Digest): object | undefined {
    const raw = JSON.parse(bytes.toString('utf8')) as { manifests: { platform?: object }[] };
    const entries: object[] = [];
    for (const [at, child] of index.manifests.entries()) {
      const kind = manifestKind(child.mediaType);
      if (child.platform === undefined || !isReal(child.platform.os) || kind === undefined) {
        this.#leaveOut(child.digest, 'attestations and artifacts have no Docker form');
        continue;
      }
      if (isIndexKind(kind)) {
        this.#leaveOut(child.digest, 'a Docker manifest list cannot contain another list');
        continue;
      }
      const converted = this.convert(child.digest);
      // The index may declare an image whose bytes, added later, turn out to be an index.
      if (converted === null || this.#kindOf(converted) !== '2') continue;
      entries.push({
        mediaType: MEDIA_TYPES.docker2,
        size: this.#recordOf(converted)?.size,
        digest: converted,
        platform: raw.manifests[at]?.platform,
      });
    }
    if (entries.length === 0) return this.#leaveOut(digest, 'none of its images has a Docker form');
    return { schemaVersion: 2, mediaType: MEDIA_TYPES.dockerList, manifests: entries };
  }

  #recordOf(digest: Digest): ManifestRecord | undefined {
    return this.#made.get(digest)?.record ?? this.input.manifests.get(digest);
  }

  #kindOf(digest: Digest): ManifestKind | undefined {
    return manifestKind(this.#recordOf(digest)?.mediaType ?? '');
  }

  #leaveOut(what: Digest, why: string): undefined {
    this.leftOut.push({ what, why: `left out of the Docker form: ${why}` });
  }
}

/** buildx gives attestations the platform unknown/unknown. */
function isReal(platform: string): boolean {
  return !platform.startsWith('unknown');
}
