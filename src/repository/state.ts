/**
 * The state of a repository in one snapshot: its tags, their content, and the origin of each. A plain value;
 * `.snapshot.json` is its text form, and everything else in a snapshot is derived from it.
 */
import type { Digest } from '../image/digest.js';
import { REFERRER_ANNOTATIONS_BYTES_MAX } from '../image/limits.js';
import { blobsOf, platformName } from '../image/manifest.js';
import { manifestKind } from '../image/media-types.js';
import type { RepositoryId, RepositoryName, Tag } from '../image/names.js';
import type { StagedManifest } from '../image/staged-content.js';

/** The origin of a tag or manifest. */
export interface Origin {
  /** The path of the drop below the inbox, or the source of a manual publish. */
  readonly drop: string;
  /** When it was claimed, as a timestamp. */
  readonly at: string;
}

export interface BlobRecord {
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
}

export interface ManifestRecord {
  readonly mediaType: string;
  /** The hash of its bytes, if that is not its digest (signed Docker schema 1). */
  readonly stored?: Digest;
  /** Bytes. */
  readonly size: number;
  /** Config and layers, in the order of the manifest, without those left out. */
  readonly blobs: readonly BlobRecord[];
  /** The manifests that an index lists, including absent platforms. */
  readonly children: readonly { readonly digest: Digest; readonly platform?: string }[];
  readonly subject?: Digest;
  /** As a referrers response shows it (distribution-spec, "Listing Referrers"). */
  readonly artifactType?: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

export interface RepositoryState {
  readonly repository: RepositoryName;
  readonly id: RepositoryId;
  readonly tags: ReadonlyMap<Tag, { readonly digest: Digest; readonly from: Origin }>;
  /** Published by digest only. */
  readonly untagged: ReadonlyMap<Digest, Origin>;
  /** Every manifest the snapshot serves. */
  readonly manifests: ReadonlyMap<Digest, ManifestRecord>;
  /** Manifests that are kept for running pulls only, and when they were last live (ms). */
  readonly carried: ReadonlyMap<Digest, number>;
  /** The repository was removed; its content is only kept for running pulls, by digest. */
  readonly removed?: true;
  /** The Docker manifest made from an OCI manifest; null if it has no Docker form. */
  readonly conversions: ReadonlyMap<Digest, Digest | null>;
}

export function emptyState(repository: RepositoryName, id: RepositoryId): RepositoryState {
  return {
    repository,
    id,
    tags: new Map(),
    untagged: new Map(),
    manifests: new Map(),
    carried: new Map(),
    conversions: new Map(),
  };
}

/**
 * Builds a record from the bytes of a manifest only, not from its declared type or the rest of the drop.
 * @param blobs sizes of the blobs that the drop or the repository contains; others were left out
 */
export function toManifestRecord(
  { manifest, size, stored }: Pick<StagedManifest, 'manifest' | 'size' | 'stored'>,
  blobs: ReadonlyMap<Digest, number>,
): ManifestRecord {
  const { config, manifests, subject, annotations, mediaType } = manifest;
  const artifactType = manifest.artifactType || config?.mediaType;
  return {
    mediaType,
    ...(stored && { stored }),
    size,
    blobs: unique(blobsOf(manifest).map(({ digest }) => digest)).flatMap((digest) => {
      const bytes = blobs.get(digest);
      return bytes === undefined ? [] : [{ digest, size: bytes }];
    }),
    children: manifests
      .filter((each) => manifestKind(each.mediaType) !== undefined)
      .map(({ digest, platform }) => {
        const name = platformName(platform);
        return name === undefined ? { digest } : { digest, platform: name };
      }),
    ...(subject && { subject: subject.digest }),
    ...(subject && artifactType !== undefined && { artifactType }),
    ...(subject && annotations && isShort(annotations) && { annotations }),
  };
}

/**
 * Adds the blobs of another record of the same bytes: a layer that was left out may be added later, and the
 * recorded blobs never shrink. Returns `known` itself if nothing is added.
 */
export function withBlobsOf(known: ManifestRecord, other: ManifestRecord): ManifestRecord {
  if (known === other) return known;
  const held = new Set(known.blobs.map(({ digest }) => digest));
  const added = other.blobs.filter(({ digest }) => !held.has(digest));
  return added.length === 0 ? known : { ...known, blobs: [...known.blobs, ...added] };
}

function isShort(annotations: Readonly<Record<string, string>>): boolean {
  return JSON.stringify(annotations).length <= REFERRER_ANNOTATIONS_BYTES_MAX;
}

function unique<T>(values: readonly T[]): T[] {
  return [...new Set(values)];
}

/**
 * Returns all manifests reachable from these roots, including the roots, as far as the snapshot contains
 * them.
 */
export function closure(
  roots: Iterable<Digest>,
  manifests: ReadonlyMap<Digest, ManifestRecord>,
  into: Set<Digest> = new Set(),
): Set<Digest> {
  const waiting = [...roots];
  for (let digest = waiting.pop(); digest !== undefined; digest = waiting.pop()) {
    if (into.has(digest)) continue;
    const record = manifests.get(digest);
    if (record === undefined) continue;
    into.add(digest);
    for (const child of record.children) waiting.push(child.digest);
  }
  return into;
}
