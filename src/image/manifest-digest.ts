/**
 * Computes the digest of a manifest: the digest of the served bytes. The only exception in dropdock is here:
 * the digest of a signed Docker schema 1 manifest is that of the signed part.
 */
import { createHash } from 'node:crypto';
import { type Digest, type DigestAlgorithm, digestFrom } from './digest.js';
import type { ManifestKind } from './media-types.js';
import { schema1Payload } from './schema1.js';

export function digestOfBytes(algorithm: DigestAlgorithm, bytes: Uint8Array): Digest {
  return digestFrom(algorithm, createHash(algorithm).update(bytes).digest('hex'));
}

/**
 * Returns the bytes that a manifest's digest is computed from. All clients that support its kind compute it
 * in the same way.
 * @throws json.*, manifest.ambiguous for schema 1 with signatures of another document
 */
export function namedBytes(bytes: Buffer, kind: ManifestKind, where: string): Buffer {
  // An OCI manifest may also be in manifests/1 (redirect.oci: passthrough); callers know its true kind.
  return kind === '1' ? schema1Payload(bytes, where) : bytes;
}

/** @throws the errors of `namedBytes` */
export function manifestDigest(
  bytes: Buffer,
  kind: ManifestKind,
  algorithm: DigestAlgorithm,
  where: string,
): Digest {
  return digestOfBytes(algorithm, namedBytes(bytes, kind, where));
}
