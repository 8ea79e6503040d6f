/** Do bytes and sizes match what names them? */
import { createHash } from 'node:crypto';
import { DropdockError } from '../errors.js';
import { type Digest, digestAlgorithm, digestFrom } from '../image/digest.js';
import { BLOB_BYTES_MAX } from '../image/limits.js';
import { type Descriptor, UNKNOWN_SIZE } from '../image/manifest.js';
import { schema1Payload } from '../image/schema1.js';
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

/** @returns what the bytes hash to: the digest, but for signed Docker schema 1 */
export function checkManifestBytes(
  bytes: Buffer,
  { kind }: StagedManifest['manifest'],
  digest: Digest,
  path: string,
): Digest {
  if (kind !== '1') {
    checkBytes(bytes, digest, path);
    return digest;
  }
  checkBytes(schema1Payload(bytes, JSON.parse(bytes.toString('utf8')), path), digest, path);
  return digestFrom('sha256', createHash('sha256').update(bytes).digest('hex'));
}

/** @throws digest.mismatch */
export function checkBytes(bytes: Uint8Array, digest: Digest, path: string): void {
  const algorithm = digestAlgorithm(digest);
  const found = `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`;
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
