/**
 * Docker image manifest version 2, schema 1, which registries served before 2016 and old Pulp servers still
 * contain. The digest of a signed one is that of the signed part (docker/libtrust, JSON signatures):
 *
 *     payload    {…"tag": "1"                                  \n}
 *     document   {…"tag": "1"  ,\n   "signatures": [ … ]       \n}
 *                              ^ formatLength                  formatTail, in each signature's header
 *
 * Clients cut out the payload as the header says and hash it. So the header must not be trusted: it is
 * compared with the document, and refused if it gives another range. Otherwise any document could be given
 * the digest of any content.
 */
import { isDeepStrictEqual } from 'node:util';
import * as v from 'valibot';
import { DropdockError } from '../errors.js';
import { ambiguous, checkMembers } from './ambiguity.js';
import { type Digest, parseDigest } from './digest.js';
import { anyObject, checkShape, parseJson, size } from './json.js';
import { eachMember, type JsonMember } from './json-members.js';
import { LAYERS_MAX, MANIFEST_BYTES_MAX } from './limits.js';

const schema1 = v.object({
  fsLayers: v.pipe(v.array(v.object({ blobSum: v.string() })), v.maxLength(LAYERS_MAX)),
});

const signed = v.object({
  signatures: v.pipe(v.array(v.object({ protected: v.string() })), v.minLength(1)),
});

const protectedHeader = v.object({ formatLength: size, formatTail: v.string() });

const COMMA = 0x2c;
const JSON_SPACE = new Set([0x20, 0x09, 0x0a, 0x0d]);
/** Everything that may follow the last member of a document. */
const TAIL = /^[ \t\n\r]*\}[ \t\n\r]*$/;

/** Returns the layers without duplicates; the format has no sizes. @throws json.invalid, digest.invalid */
export function schema1Layers(document: unknown, where: string): Digest[] {
  const { fsLayers } = checkShape(document, where, schema1);
  return [...new Set(fsLayers.map(({ blobSum }) => parseDigest(blobSum, where)))];
}

/**
 * Returns the bytes that the digest of a schema 1 manifest is computed from: the document without its
 * signatures, or all of it if it is not signed. A client cuts out the same bytes (libtrust,
 * `ParsePrettySignature`), so it can check the digest although it receives the complete document.
 * @throws json.*, manifest.ambiguous if the signatures are of another document
 */
export function schema1Payload(bytes: Buffer, where: string): Buffer {
  const document = parseJson(bytes, where, anyObject, MANIFEST_BYTES_MAX);
  checkMembers(bytes, where);
  if (document.signatures === undefined) return bytes;
  const { signatures } = checkShape(document, where, signed);
  const end = endOfPayload(bytes, where);
  const [tail = '', ...others] = signatures.map((signature) =>
    checkedTail(signature.protected, end, where),
  );
  if (others.some((other) => other !== tail)) {
    throw ambiguous(where, 'has signatures of different content');
  }
  const payload = Buffer.concat([bytes.subarray(0, end), Buffer.from(tail)]);
  // Compares the parsed documents too, not only offsets: every member that is served must be signed.
  const { signatures: _signatures, ...unsigned } = document;
  if (isDeepStrictEqual(parseJson(payload, where, anyObject, MANIFEST_BYTES_MAX), unsigned)) {
    return payload;
  }
  throw ambiguous(where, 'has the signature of another document');
}

/** Returns where the signatures begin, with the comma before them: they must be the last member. */
function endOfPayload(bytes: Buffer, where: string): number {
  let last: JsonMember | undefined;
  eachMember(bytes, (member) => {
    if (member.within === '') last = member;
  });
  let at = (last?.start ?? 0) - 1;
  while (JSON_SPACE.has(bytes[at] ?? 0)) at--;
  if (last?.name === 'signatures' && bytes[at] === COMMA) return at;
  throw ambiguous(where, 'has signatures that are not at its end');
}

/** Returns the `formatTail` of one signature. @param end offset of the end of the payload */
function checkedTail(encoded: string, end: number, where: string): string {
  const { formatLength, formatTail } = checkShape(
    headerOf(decode(encoded, where), where),
    where,
    protectedHeader,
  );
  const tail = decode(formatTail, where).toString('latin1');
  if (formatLength === end && TAIL.test(tail)) return tail;
  throw ambiguous(
    where,
    `has a signature of other bytes: it covers ${formatLength} bytes, but ${end} precede the signatures`,
  );
}

function headerOf(bytes: Buffer, where: string): unknown {
  const header = parseJson(bytes, `${where}: the header of a signature`, anyObject, bytes.length);
  checkMembers(bytes, where);
  return header;
}

/** Node's decoder ignores invalid characters, which clients refuse. @throws json.invalid */
function decode(encoded: string, where: string): Buffer {
  const bytes = Buffer.from(encoded, 'base64url');
  if (encoded !== '' && bytes.toString('base64url') === encoded) return bytes;
  throw new DropdockError('json.invalid', `The signature of ${where} cannot be read.`, {
    path: where,
  });
}
