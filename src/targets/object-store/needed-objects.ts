/** Which objects a snapshot needs beside its own. Pure. */
import type { Digest } from '../../image/digest.js';
import type { NeededContent } from '../../publisher/target.js';
import { liveManifests } from '../../repository/merge.js';
import type { ManifestRecord, RepositoryState } from '../../repository/state.js';
import { blobKey, IMMUTABLE, manifestKey } from './object-keys.js';
import type { Attributes } from './object-store.js';

export interface NeededObject {
  readonly key: string;
  /** What its bytes hash to. */
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  readonly contentType: string;
  /** Of a manifest: how many blobs its snapshot has of it. */
  readonly blobs?: number;
}

const BLOB_TYPE = 'application/octet-stream';

/**
 * What is the truth in `next` and was not in `base`. What was is there: a cleaning marks it. What is
 * only carried was the truth before, and if it becomes so again it is looked at again.
 */
export function neededObjects(
  next: RepositoryState,
  base: RepositoryState | undefined,
): NeededObject[] {
  const before = base && liveManifests(base);
  const needed = new Map<string, NeededObject>();
  for (const digest of liveManifests(next)) {
    const record = next.manifests.get(digest);
    // Most of a large repository is what it was: the very same value.
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
 * Everything that may be asked for.
 * @param expiredMs what is carried since the snapshot of this name (ms), or an earlier one, may not
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

/** The object that holds this in a store. */
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

/** Everything that never changes is put with these; a check goes by the digest. */
export function attributesOf({ digest, contentType }: NeededObject): Attributes {
  return { contentType, cacheControl: IMMUTABLE, metadata: { digest } };
}
