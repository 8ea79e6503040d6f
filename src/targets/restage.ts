/** Turns the content of a snapshot into a drop that can be published again, for copies between targets. */
import { DropdockError } from '../errors.js';
import { type Digest, digestAlgorithm } from '../image/digest.js';
import { MANIFEST_BYTES_MAX } from '../image/limits.js';
import { parseManifest } from '../image/manifest.js';
import { manifestDigest } from '../image/manifest-digest.js';
import type { ManifestKind } from '../image/media-types.js';
import type { RepositoryName, Tag } from '../image/names.js';
import type { StagedBlob, StagedContent } from '../image/staged-content.js';
import type { NeededContent } from '../publisher/target.js';
import { parseSnapshot, type SnapshotText } from '../repository/snapshot-file.js';
import { closure, type RepositoryState } from '../repository/state.js';
import type { Disk } from '../storage/disk.js';
import { readFile } from '../storage/durable.js';
import { job } from '../storage/job.js';
import { contentPath, type TreeRoots } from '../storage/tree-paths.js';

export interface RestageRequest {
  readonly roots: TreeRoots;
  readonly source: SnapshotText;
}

/** Returns the repository and the content of a snapshot, without conversions: they are made again. */
export const restageNeeds = job(
  'fast',
  import.meta.url,
  function restageNeeds(
    _disk: Disk,
    { source }: Pick<RestageRequest, 'source'>,
  ): {
    readonly repository: RepositoryName;
    readonly removed: boolean;
    readonly needs: readonly NeededContent[];
  } {
    const { repository, removed = false, manifests } = originals(source);
    const blobs = new Map<Digest, NeededContent>();
    const needs = [...manifests].map(([name, record]): NeededContent => {
      const { size, mediaType, stored: digest = name } = record;
      for (const blob of record.blobs) blobs.set(blob.digest, { ...blob, mediaType: undefined });
      return { digest, size, mediaType };
    });
    return { repository, removed, needs: [...needs, ...blobs.values()] };
  },
);

/**
 * Call this when all manifests are in the content store. They are checked like those of a drop: content that
 * an older version accepted but this one refuses is not copied.
 * @throws manifest.*, json.*, digest.*, system errors
 */
export const restage = job(
  'fast',
  import.meta.url,
  function restage(disk: Disk, { roots, source }: RestageRequest): StagedContent {
    const { tags, untagged, manifests } = originals(source);
    const tagsOf = new Map([...untagged.keys()].map((digest) => [digest, [] as Tag[]]));
    for (const [tag, { digest }] of tags) tagsOf.set(digest, [...(tagsOf.get(digest) ?? []), tag]);
    const blobs = new Map<string, StagedBlob>();
    const staged = [...manifests].map(([digest, record]) => {
      const { mediaType, size, stored } = record;
      for (const blob of record.blobs) blobs.set(blob.digest, { ...blob, source: 'published' });
      const bytes = readFile(disk, contentPath(roots, stored ?? digest), MANIFEST_BYTES_MAX);
      const manifest = parseManifest(bytes, mediaType, digest);
      checkName(bytes, manifest.kind, digest);
      return { digest, ...(stored && { stored }), size, manifest, bytes: undefined };
    });
    return {
      roots: [...tagsOf].map(([digest, names]) => ({ digest, tags: names, names: [] })),
      manifests: staged,
      blobs: [...blobs.values()],
      leftOut: [],
      warnings: [],
    };
  },
);

/**
 * The bytes were hashed during the download; the digest of a signed schema 1 manifest differs from that hash.
 */
function checkName(bytes: Buffer, kind: ManifestKind, digest: Digest): void {
  const found = manifestDigest(bytes, kind, digestAlgorithm(digest), digest);
  if (found === digest) return;
  throw new DropdockError('digest.mismatch', `The content served as ${digest} does not match.`, {
    digest,
    found,
  });
}

/** Omits content kept for grace, and conversions made by dropdock. */
function originals({ text, snapshot }: SnapshotText): RepositoryState {
  const { buffer, byteOffset, byteLength } = text;
  const { state } = parseSnapshot(Buffer.from(buffer, byteOffset, byteLength), snapshot);
  const named = [...[...state.tags.values()].map(({ digest }) => digest), ...state.untagged.keys()];
  const reached = closure(named, state.manifests);
  const manifests = new Map([...state.manifests].filter(([digest]) => reached.has(digest)));
  return { ...state, manifests, carried: new Map(), conversions: new Map() };
}
