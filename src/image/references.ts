/**
 * The blobs that a published manifest may be asked for, told from its bytes alone, whatever it was taken
 * for when it was published: for a cleaning, which must take nothing that any client might come for. Pure.
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
 * Which of `wanted` these bytes name as config, layer, or as something in an index that is no manifest.
 * @param bytes of something in manifests/; one that is no JSON names nothing
 */
export function referredBlobs(bytes: Buffer, wanted: { has(digest: string): boolean }): Digest[] {
  // Most manifests mention none of them, and are not parsed for that. Escapes may hide a digest.
  const mentioned = bytes.toString('latin1').match(DIGESTS) ?? [];
  if (!bytes.includes(BACKSLASH) && !mentioned.some((digest) => wanted.has(digest))) return [];
  return blobsNamedIn(bytes).filter((digest) => wanted.has(digest));
}

/** All of them, each once. */
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
