/**
 * Docker image manifest version 2, schema 1: what registries served before 2016, and old Pulp hosts
 * still hold. A signed one is named by the digest of its payload, which is the document without its
 * signatures as the signature's header describes it (docker/libtrust, JSON signatures).
 */
import * as v from 'valibot';
import { DropdockError } from '../errors.js';
import { type Digest, parseDigest } from './digest.js';
import { checkShape, size } from './json.js';
import { LAYERS_MAX } from './limits.js';

const schema1 = v.object({
  fsLayers: v.pipe(v.array(v.object({ blobSum: v.string() })), v.maxLength(LAYERS_MAX)),
  signatures: v.optional(v.array(v.object({ protected: v.string() }))),
});

const protectedHeader = v.object({ formatLength: size, formatTail: v.string() });

/** The layers, each once; the format says no sizes. @throws json.invalid, digest.invalid */
export function schema1Layers(document: unknown, where: string): Digest[] {
  const { fsLayers } = checkShape(document, where, schema1);
  return [...new Set(fsLayers.map(({ blobSum }) => parseDigest(blobSum, where)))];
}

/** The bytes that a signed manifest's digest is taken of; all of them when it is not signed. */
export function schema1Payload(bytes: Buffer, document: unknown, where: string): Buffer {
  const { signatures = [] } = checkShape(document, where, schema1);
  const [signature] = signatures;
  if (signature === undefined) return bytes;
  let header: unknown;
  try {
    header = JSON.parse(Buffer.from(signature.protected, 'base64url').toString('utf8'));
  } catch (cause) {
    throw new DropdockError(
      'json.invalid',
      `${where}: its signature cannot be read.`,
      { path: where },
      cause,
    );
  }
  const { formatLength, formatTail } = checkShape(header, where, protectedHeader);
  const tail = Buffer.from(formatTail, 'base64url');
  return Buffer.concat([bytes.subarray(0, formatLength), tail]);
}
