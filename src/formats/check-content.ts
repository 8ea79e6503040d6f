/** Do bytes and sizes match what names them? */
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
    `${path} is ${found} bytes long, a descriptor of it says ${size}.`,
    { path, digest, found, expected: size },
  );
}

/**
 * One drop may not announce one digest as two things.
 * @param known what it was announced as first
 * @throws manifest.ambiguous
 */
export function checkAnnounced(
  { digest, mediaType }: Pick<Descriptor, 'digest' | 'mediaType'>,
  known: string,
): void {
  if (mediaType === known) return;
  throw ambiguous(digest, `is announced as ${known} and as ${mediaType} in one drop`);
}

/**
 * @returns what the bytes hash to: the digest, but for signed Docker schema 1, whose digest is that of
 * what was signed (`namedBytes` says why that can be trusted)
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
  throw new DropdockError('digest.mismatch', `${path} holds other bytes than ${digest}.`, {
    path,
    digest,
    found,
  });
}

/** @throws limit.exceeded */
export function checkBlobLimit({ digest, size }: Descriptor): void {
  if (size <= BLOB_BYTES_MAX) return;
  throw new DropdockError('limit.exceeded', `${digest} is larger than any layer.`, { digest });
}
