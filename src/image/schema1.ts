/**
 * Docker image manifest version 2, schema 1: what registries served before 2016, and old Pulp hosts
 * still hold. A signed one is named by the digest of what was signed (docker/libtrust, JSON signatures):
 *
 *     payload    {…"tag": "1"                                  \n}
 *     document   {…"tag": "1"  ,\n   "signatures": [ … ]       \n}
 *                              ^ formatLength                  formatTail, in each signature's header
 *
 * Clients cut the payload out of the document as the header says and hash that. So the header must be
 * believed in nothing: it is held against the document, and with another range than the document's own
 * it is refused. Otherwise any document could be given the digest of any content.
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
/** All that can stand behind the last member of a document. */
const TAIL = /^[ \t\n\r]*\}[ \t\n\r]*$/;

/** The layers, each once; the format says no sizes. @throws json.invalid, digest.invalid */
export function schema1Layers(document: unknown, where: string): Digest[] {
  const { fsLayers } = checkShape(document, where, schema1);
  return [...new Set(fsLayers.map(({ blobSum }) => parseDigest(blobSum, where)))];
}

/**
 * The bytes that a schema 1 manifest's digest is taken of: the document without its signatures, or all of
 * it when it is not signed. A client cuts out the very same bytes (libtrust, `ParsePrettySignature`), so
 * it can check the digest, although it is sent the whole document.
 * @throws json.*, manifest.ambiguous when the document's signatures are not of the document itself
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
    throw ambiguous(where, 'has signatures that do not agree about what they sign');
  }
  const payload = Buffer.concat([bytes.subarray(0, end), Buffer.from(tail)]);
  // Once more, and not by offsets: what is named must say what is served, in every member.
  const { signatures: _signatures, ...unsigned } = document;
  if (isDeepStrictEqual(parseJson(payload, where, anyObject, MANIFEST_BYTES_MAX), unsigned)) {
    return payload;
  }
  throw ambiguous(where, 'is signed as another document');
}

/** Where the signatures begin, with the comma before them: they must be the last member. */
function endOfPayload(bytes: Buffer, where: string): number {
  let last: JsonMember | undefined;
  eachMember(bytes, (member) => {
    if (member.within === '') last = member;
  });
  let at = (last?.start ?? 0) - 1;
  while (JSON_SPACE.has(bytes[at] ?? 0)) at--;
  if (last?.name === 'signatures' && bytes[at] === COMMA) return at;
  throw ambiguous(where, 'has its signatures in front of what they sign');
}

/** The `formatTail` of one signature. @param end where the payload leaves the document */
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
    `has a signature of other bytes than its own: of ${formatLength} and a tail, where ${end} are before the signatures`,
  );
}

function headerOf(bytes: Buffer, where: string): unknown {
  const header = parseJson(bytes, `${where}: the header of a signature`, anyObject, bytes.length);
  checkMembers(bytes, where);
  return header;
}

/** Node's decoder passes over what is no base64url, which clients refuse. @throws json.invalid */
function decode(encoded: string, where: string): Buffer {
  const bytes = Buffer.from(encoded, 'base64url');
  if (encoded !== '' && bytes.toString('base64url') === encoded) return bytes;
  throw new DropdockError('json.invalid', `${where}: its signature cannot be read.`, {
    path: where,
  });
}
