/** Lists the objects that a snapshot needs in addition to its own. Pure. */
import type { Digest } from '../../image/digest.js';
import type { NeededContent } from '../../publisher/target.js';
import { liveManifests } from '../../repository/merge.js';
import type { ManifestRecord, RepositoryState } from '../../repository/state.js';
import { blobKey, IMMUTABLE, manifestKey } from './object-keys.js';
import type { Attributes } from './object-store.js';

export interface NeededObject {
  readonly key: string;
  /** The digest of its bytes. */
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  readonly contentType: string;
  /** For a manifest: the number of blobs that its snapshot lists. */
  readonly blobs?: number;
}

const BLOB_TYPE = 'application/octet-stream';

/**
 * Returns the objects that `next` serves and `base` did not. Cleanings keep the objects of `base`. Content
 * that is only kept for grace is checked when it is served again.
 */
export function neededObjects(
  next: RepositoryState,
  base: RepositoryState | undefined,
): NeededObject[] {
  const before = base && liveManifests(base);
  const needed = new Map<string, NeededObject>();
  for (const digest of liveManifests(next)) {
    const record = next.manifests.get(digest);
    // Most records of a large repository are unchanged: the same object.
    const isKnown = before?.has(digest) && base?.manifests.get(digest) === record;
    if (record && !isKnown) add(needed, digest, record);
  }
  if (needed.size === 0) return [];
  for (const digest of before ?? []) {
    const { blobs = [], stored = digest } = base?.manifests.get(digest) ?? {};
    needed.delete(manifestKey(stored));
    for (const blob of blobs) needed.delete(blobKey(blob.digest));
  }
  return [...needed.values()];
}

/**
 * Returns all objects that clients may request.
 * @param expiredMs omits content kept for grace since the snapshot of this time (ms) or earlier
 */
export function allObjects(state: RepositoryState, expiredMs: number): NeededObject[] {
  const needed = new Map<string, NeededObject>();
  const live = liveManifests(state);
  for (const [digest, record] of state.manifests) {
    const isCarried = (state.carried.get(digest) ?? Number.NEGATIVE_INFINITY) > expiredMs;
    if (live.has(digest) || isCarried) add(needed, digest, record);
  }
  return [...needed.values()];
}

/** Returns the store object of this content. */
export function objectOf({ digest, size, mediaType }: NeededContent): NeededObject {
  return mediaType === undefined
    ? { key: blobKey(digest), digest, size, contentType: BLOB_TYPE }
    : { key: manifestKey(digest), digest, size, contentType: mediaType };
}

function add(
  needed: Map<string, NeededObject>,
  digest: Digest,
  { size, mediaType, blobs, stored = digest }: ManifestRecord,
): void {
  const key = manifestKey(stored);
  needed.set(key, { key, digest: stored, size, contentType: mediaType, blobs: blobs.length });
  for (const blob of blobs) {
    const at = blobKey(blob.digest);
    needed.set(at, { key: at, ...blob, contentType: BLOB_TYPE });
  }
}

/** Immutable objects are stored with these attributes; a check compares the digest. */
export function attributesOf({ digest, contentType }: NeededObject): Attributes {
  return { contentType, cacheControl: IMMUTABLE, metadata: { digest } };
}
