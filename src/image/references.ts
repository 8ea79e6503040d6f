/**
 * Finds the blobs that clients may request for a published manifest by its bytes alone, independent of the
 * type it was published with. Used when cleaning, which must not remove any of them. Pure.
 */
import { type Digest, isDigest } from './digest.js';
import { manifestKind } from './media-types.js';

const BACKSLASH = 0x5c;
const DIGESTS = /sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}/g;

interface Entry {
  readonly digest?: unknown;
  readonly blobSum?: unknown;
  readonly mediaType?: unknown;
}

/**
 * Returns the digests of `wanted` that the manifest refers to as config, as layer, or as an index entry that
 * is not a manifest.
 * @param bytes a file of manifests/; if it is not JSON, it refers to nothing
 */
export function referredBlobs(bytes: Buffer, wanted: { has(digest: string): boolean }): Digest[] {
  // Most manifests contain none of them and need not be parsed. Escapes may hide a digest.
  const mentioned = bytes.toString('latin1').match(DIGESTS) ?? [];
  if (!bytes.includes(BACKSLASH) && !mentioned.some((digest) => wanted.has(digest))) return [];
  return blobsNamedIn(bytes).filter((digest) => wanted.has(digest));
}

/** Returns all of them, without duplicates. */
export function blobsNamedIn(bytes: Buffer): Digest[] {
  let document: unknown;
  try {
    document = JSON.parse(bytes.toString('utf8'));
  } catch {
    return [];
  }
  const { config, layers, fsLayers, manifests } = (document ?? {}) as Record<string, unknown>;
  const others = entriesOf(manifests).filter(
    ({ mediaType }) => typeof mediaType !== 'string' || manifestKind(mediaType) === undefined,
  );
  const entries = [...entriesOf([config]), ...entriesOf(layers), ...entriesOf(fsLayers), ...others];
  const named = entries
    .flatMap(({ digest, blobSum }) => [digest, blobSum])
    .filter((text): text is Digest => typeof text === 'string' && isDigest(text));
  return [...new Set(named)];
}

function entriesOf(list: unknown): Entry[] {
  return Array.isArray(list)
    ? list.filter((each): each is Entry => typeof each === 'object' && each !== null)
    : [];
}
