/**
 * What one snapshot of a repository is: its tags, what they lead to, where each came from. A plain
 * value; `.snapshot.json` is this value in text, and everything else in a snapshot follows from it.
 */
import type { Digest } from '../image/digest.js';
import { REFERRER_ANNOTATIONS_BYTES_MAX } from '../image/limits.js';
import { platformName } from '../image/manifest.js';
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

/** @param blobs sizes of what the drop or the repository really holds; others were left out */
export function toManifestRecord(
  { manifest, size, stored }: Pick<StagedManifest, 'manifest' | 'size' | 'stored'>,
  blobs: ReadonlyMap<Digest, number>,
): ManifestRecord {
  const { config, layers, manifests, subject, annotations, mediaType } = manifest;
  const listed = [...(config ? [config] : []), ...layers, ...manifests];
  const artifactType = manifest.artifactType || config?.mediaType;
  return {
    mediaType,
    ...(stored && { stored }),
    size,
    blobs: unique(listed.map(({ digest }) => digest)).flatMap((digest) => {
      const bytes = blobs.get(digest);
      return bytes === undefined ? [] : [{ digest, size: bytes }];
    }),
    children: manifests
      .filter(({ digest }) => !blobs.has(digest))
      .map(({ digest, platform }) => {
        const name = platformName(platform);
        return name === undefined ? { digest } : { digest, platform: name };
      }),
    ...(subject && { subject: subject.digest }),
    ...(subject && artifactType !== undefined && { artifactType }),
    ...(subject && annotations && isShort(annotations) && { annotations }),
  };
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
