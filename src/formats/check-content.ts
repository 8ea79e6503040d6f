/** Checks that bytes and sizes match their digests and descriptors. */
import { DropdockError } from '../errors.js';
import { ambiguous } from '../image/ambiguity.js';
import { type Digest, digestAlgorithm } from '../image/digest.js';
import { BLOB_BYTES_MAX } from '../image/limits.js';
import { type Descriptor, UNKNOWN_SIZE } from '../image/manifest.js';
import { digestOfBytes, namedBytes } from '../image/manifest-digest.js';
import type { StagedManifest } from '../image/staged-content.js';

/** @throws size.mismatch */
export function checkLength(
  { digest, size }: Pick<Descriptor, 'digest' | 'size'>,
  found: number,
  path: string,
): void {
  if (found === size || size === UNKNOWN_SIZE) return;
  throw new DropdockError(
    'size.mismatch',
    `${path} is ${found} bytes long, but its descriptor says ${size}.`,
    { path, digest, found, expected: size },
  );
}

/**
 * One drop must not give one digest two media types.
 * @param known the first media type of this digest
 * @throws manifest.ambiguous
 */
export function checkAnnounced(
  { digest, mediaType }: Pick<Descriptor, 'digest' | 'mediaType'>,
  known: string,
): void {
  if (mediaType === known) return;
  throw ambiguous(digest, `has the media types ${known} and ${mediaType} in one drop`);
}

/**
 * @returns the digest of the stored bytes. It is the manifest's digest, except for signed Docker schema 1,
 * whose digest covers only the signed part (`namedBytes` explains why that is safe)
 */
export function checkManifestBytes(
  bytes: Buffer,
  { kind }: StagedManifest['manifest'],
  digest: Digest,
  path: string,
): Digest {
  const named = namedBytes(bytes, kind, path);
  checkBytes(named, digest, path);
  return named === bytes ? digest : digestOfBytes('sha256', bytes);
}

/** @throws digest.mismatch */
export function checkBytes(bytes: Uint8Array, digest: Digest, path: string): void {
  const algorithm = digestAlgorithm(digest);
  const found = digestOfBytes(algorithm, bytes);
  if (found === digest) return;
  throw new DropdockError('digest.mismatch', `${path} does not match its digest ${digest}.`, {
    path,
    digest,
    found,
  });
}

/** @throws limit.exceeded */
export function checkBlobLimit({ digest, size }: Descriptor): void {
  if (size <= BLOB_BYTES_MAX) return;
  throw new DropdockError('limit.exceeded', `${digest} exceeds the blob size limit.`, { digest });
}
