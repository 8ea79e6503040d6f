/**
 * A digest is parsed and checked once. Then it has its own type, and is safe as part of a path.
 * Grammar: OCI image-spec, descriptor.md "Digests"; registered algorithms only.
 */
import { DropdockError } from '../errors.js';

declare const digestBrand: unique symbol;
/** `sha256:<64 hex>` or `sha512:<128 hex>`, checked. */
export type Digest = string & { readonly [digestBrand]: true };

export const DIGEST_ALGORITHMS = { sha256: 64, sha512: 128 } as const;
export type DigestAlgorithm = keyof typeof DIGEST_ALGORITHMS;

const DIGEST = /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/;

export function isDigest(text: string): text is Digest {
  return DIGEST.test(text);
}

/** @throws digest.invalid; `where` tells the place of the digest */
export function parseDigest(text: string, where: string): Digest {
  if (isDigest(text)) return text;
  const shown = text.length > 150 ? `${text.slice(0, 150)}…` : text;
  throw new DropdockError('digest.invalid', `${where} contains the invalid digest "${shown}".`, {
    path: where,
    digest: shown,
  });
}

export function digestAlgorithm(digest: Digest): DigestAlgorithm {
  return digest.startsWith('sha256:') ? 'sha256' : 'sha512';
}

export function digestHex(digest: Digest): string {
  return digest.slice(7);
}

export function digestFrom(algorithm: DigestAlgorithm, hex: string): Digest {
  return parseDigest(`${algorithm}:${hex}`, 'a computed digest');
}
