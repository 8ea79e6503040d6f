/** Docker schema 1, as registries served it before 2016: signed, unsigned, and signed incorrectly. */

export interface Schema1 {
  /** The manifest as it is stored and served. */
  readonly text: string;
  /** What its digest is taken of: the text without its signatures. */
  readonly payload: string;
}

export interface Schema1Options {
  readonly signed: boolean;
  /** Makes the payload another one. */
  readonly tag?: string;
  /** Spaces; 0 for all in one line. */
  readonly indent?: number;
  /** What stands for the signature itself: one payload can be signed again and again. */
  readonly signature?: string;
}

export function makeSchema1(
  layers: readonly string[],
  { signed, tag = '1', indent = 3, signature = 'x' }: Schema1Options,
): Schema1 {
  const payload = JSON.stringify(
    {
      schemaVersion: 1,
      name: 'team/old',
      tag,
      architecture: 'amd64',
      fsLayers: layers.map((digest) => ({ blobSum: digest })),
      history: layers.map(() => ({ v1Compatibility: '{}' })),
    },
    undefined,
    indent,
  );
  if (!signed) return { text: payload, payload };
  const tail = indent === 0 ? '}' : '\n}';
  const formatLength = payload.length - tail.length;
  const block = signatureBlock({ formatLength, formatTail: base64url(tail) }, signature);
  return { text: withSignatures(payload, [block], indent), payload };
}

export const base64url = (text: string) => Buffer.from(text).toString('base64url');

/** @param header as it is said, whether it is true or not */
export function signatureBlock(header: object, signature = 'x') {
  const encoded = base64url(JSON.stringify(header));
  return { header: { alg: 'ES256' }, signature, protected: encoded };
}

/** @param document pretty-printed, so that it ends with a line break and a brace, or in one line */
export function withSignatures(
  document: string,
  signatures: readonly object[],
  indent = 3,
): string {
  const open = indent === 0 ? '' : `\n${' '.repeat(indent)}`;
  const close = indent === 0 ? '' : '\n';
  const body = document.slice(0, document.length - close.length - 1);
  return `${body},${open}"signatures": ${JSON.stringify(signatures)}${close}}`;
}

/** What clients cut out of a signed document, believing its first signature (libtrust, `Payload`). */
export function payloadAsClientsCut(bytes: Buffer): Buffer {
  const { signatures } = JSON.parse(bytes.toString('utf8'));
  if (signatures === undefined) return bytes;
  const header = JSON.parse(Buffer.from(signatures[0].protected, 'base64url').toString('utf8'));
  return Buffer.concat([
    bytes.subarray(0, header.formatLength),
    Buffer.from(header.formatTail, 'base64url'),
  ]);
}
