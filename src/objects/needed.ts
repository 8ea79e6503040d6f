/** Which objects a snapshot needs beside its own. Pure. */
import type { Digest } from '../image/digest.js';
import type { RepositoryState } from '../snapshot/state.js';
import { blobKey, IMMUTABLE, manifestKey } from './layout.js';
import type { Attributes } from './store.js';

export interface NeededObject {
  readonly key: string;
  /** What its bytes hash to. */
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  readonly contentType: string;
}

const BLOB_TYPE = 'application/octet-stream';

/** @param base what is known to be there: the current snapshot of the same repository */
export function neededObjects(
  next: RepositoryState,
  base: RepositoryState | undefined,
): NeededObject[] {
  const needed = new Map<string, NeededObject>();
  for (const [digest, record] of next.manifests) {
    const { size, mediaType, blobs, stored = digest } = record;
    const before = base?.manifests.get(digest);
    // Most of a large repository is what it was: the very same value.
    if (before === record) continue;
    const key = manifestKey(stored);
    needed.set(key, { key, digest: stored, size, contentType: mediaType });
    for (const blob of blobs) {
      const at = blobKey(blob.digest);
      needed.set(at, { key: at, ...blob, contentType: BLOB_TYPE });
    }
  }
  if (base === undefined) return [...needed.values()];
  for (const [digest, { blobs, stored = digest }] of base.manifests) {
    if (needed.size === 0) break;
    needed.delete(manifestKey(stored));
    for (const blob of blobs) needed.delete(blobKey(blob.digest));
  }
  return [...needed.values()];
}

/** Everything that never changes is put with these; a check goes by the digest. */
export function attributesOf({ digest, contentType }: NeededObject): Attributes {
  return { contentType, cacheControl: IMMUTABLE, metadata: { digest } };
}
