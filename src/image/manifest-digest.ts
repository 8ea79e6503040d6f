/**
 * What a manifest is called: the digest of the bytes that are served. There is one exception in all of
 * dropdock, and it is here: a signed Docker schema 1 manifest is called by what was signed.
 */
import { createHash } from 'node:crypto';
import { type Digest, type DigestAlgorithm, digestFrom } from './digest.js';
import type { ManifestKind } from './media-types.js';
import { schema1Payload } from './schema1.js';

export function digestOfBytes(algorithm: DigestAlgorithm, bytes: Uint8Array): Digest {
  return digestFrom(algorithm, createHash(algorithm).update(bytes).digest('hex'));
}

/**
 * The bytes a manifest's digest is taken of. Every digest of a manifest is computed of these, and so does
 * every client that can read its kind.
 * @throws json.*, manifest.ambiguous for schema 1 whose signatures are not its own
 */
export function namedBytes(bytes: Buffer, kind: ManifestKind, where: string): Buffer {
  // Also an OCI manifest may lie under manifests/1 (redirect.oci: passthrough); callers know its true kind.
  return kind === '1' ? schema1Payload(bytes, where) : bytes;
}

/** @throws as `namedBytes` */
export function manifestDigest(
  bytes: Buffer,
  kind: ManifestKind,
  algorithm: DigestAlgorithm,
  where: string,
): Digest {
  return digestOfBytes(algorithm, namedBytes(bytes, kind, where));
}
