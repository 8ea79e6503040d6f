/**
 * What one snapshot of a repository is: its tags, what they lead to, where each came from. A plain
 * value; `.snapshot.json` is this value in text, and everything else in a snapshot follows from it.
 */
import type { Digest } from '../image/digest.js';
import { REFERRER_ANNOTATIONS_BYTES_MAX } from '../image/limits.js';
import { blobsOf, platformName } from '../image/manifest.js';
import { manifestKind } from '../image/media-types.js';
import type { RepositoryId, RepositoryName, Tag } from '../image/names.js';
import type { StagedManifest } from '../image/staged-content.js';

/** Where something came from. */
export interface Origin {
  /** The drop's path below the inbox, or what was published by hand. */
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
  /** What its bytes hash to, where that is not its digest (signed Docker schema 1). */
  readonly stored?: Digest;
  /** Bytes. */
  readonly size: number;
  /** Config and layers, in the manifest's order, without what was left out. */
  readonly blobs: readonly BlobRecord[];
  /** What an index lists that is a manifest, absent platforms among them. */
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
  /** Manifests that are only kept for pulls under way, and when they were last the truth (ms). */
  readonly carried: ReadonlyMap<Digest, number>;
  /** It was removed, and only keeps what pulls under way may still ask for, by digest. */
  readonly removed?: true;
  /** For an OCI manifest, the Docker one made from it; null where it has no Docker form. */
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
 * What a manifest's bytes say, and nothing else: not what announced it, nor what else the drop holds.
 * @param blobs sizes of what the drop or the repository really holds; others were left out
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
 * The same record with the blobs that another one of the same bytes holds besides: a layer that was left
 * out may come later, and what is held does not shrink. `known` itself where nothing is added.
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

/** Everything these manifests lead to, themselves among it, as far as the snapshot holds it. */
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
