/**
 * Builds responses: status, headers, conditions and ranges. `fresh` evaluates conditional requests and
 * `range-parser` parses Range headers, as in Express.
 */
import { randomBytes } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import fresh from 'fresh';
import parseRange from 'range-parser';
import type { Digest } from '../image/digest.js';
import type { Body, Part } from './body.js';
import { type Refusal, refusalBody } from './refusal.js';
import type { ServedBlob } from './source.js';

export interface Answer {
  readonly status: number;
  /** A list is sent as one header line for each item. */
  readonly headers: Readonly<Record<string, string | number | string[]>>;
  readonly body: Body | undefined;
}

/** How long a response may be cached, and in which caches. */
export interface Caching {
  /** Addressed by digest, so the content never changes. */
  readonly immutable: boolean;
  /** Access is restricted, so shared caches must not store it. */
  readonly isPrivate: boolean;
}

export function cacheControl({ immutable, isPrivate }: Caching): string {
  const who = isPrivate ? 'private' : 'public';
  return immutable
    ? `${who}, max-age=31536000, immutable`
    : isPrivate
      ? 'private, no-cache'
      : 'no-cache';
}

export interface Found {
  readonly type: string;
  /** The digest of the complete content; used as the strong ETag. */
  readonly digest: Digest;
  readonly caching: Caching;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Sends a complete text or manifest. */
export function answerBytes(request: IncomingHttpHeaders, found: Found, bytes: Buffer): Answer {
  const headers = foundHeaders(found);
  if (isFresh(request, headers.ETag)) return notModified(headers);
  return {
    status: 200,
    headers: { ...headers, 'Content-Type': found.type, 'Content-Length': bytes.length },
    body: bytes,
  };
}

type SentFile = Pick<ServedBlob, 'size' | 'send' | 'pieces' | 'close'>;

/** Sends a file, one range of it, or several ranges. Closes the file if nothing of it is sent. */
export async function answerFile(
  { headers: request, isHead }: { readonly headers: IncomingHttpHeaders; readonly isHead: boolean },
  found: Found,
  file: SentFile,
): Promise<Answer> {
  const { size } = file;
  const headers = { ...foundHeaders(found), 'Accept-Ranges': 'bytes' };
  if (isFresh(request, headers.ETag)) {
    await file.close();
    return notModified(headers);
  }
  // RFC 9110, 14.2: Range applies to GET only.
  const parts = isHead ? undefined : partsOf(request, headers.ETag, size);
  if (parts === 'unsatisfiable') {
    await file.close();
    const refused = answerRefusal({ status: 416, code: 'RANGE_INVALID' });
    return { ...refused, headers: { ...refused.headers, 'Content-Range': `bytes */${size}` } };
  }
  if (parts !== undefined && parts.length > 1) {
    return answerParts(headers, found.type, parts, file);
  }
  const part = parts?.[0];
  const { start, end } = part ?? { start: 0, end: size - 1 };
  const isSent = size > 0 && !isHead;
  if (!isSent) await file.close();
  const sent = {
    ...headers,
    'Content-Type': found.type,
    'Content-Length': lengthOf({ start, end }),
    ...(part && { 'Content-Range': contentRange(part, size) }),
  };
  const body = isSent ? await file.send({ start, end }) : undefined;
  return { status: part ? 206 : 200, headers: sent, body };
}

/**
 * Sends several ranges: one part of a multipart/byteranges body for each range, in the requested order (RFC
 * 9110, 14.6 and 15.3.7.2). Adjacent ranges are not joined, although the RFC allows it: containers/image
 * (podman, CRI-O) aborts a pull unless it gets as many parts as it requested.
 */
async function answerParts(
  headers: Answer['headers'],
  type: string,
  parts: readonly Part[],
  file: SentFile,
): Promise<Answer> {
  // Random for each response, so that no content can contain it on purpose.
  const boundary = randomBytes(24).toString('hex');
  const heads = parts.map((part) =>
    Buffer.from(
      `\r\n--${boundary}\r\nContent-Type: ${type}\r\n` +
        `Content-Range: ${contentRange(part, file.size)}\r\n\r\n`,
    ),
  );
  const tail = Buffer.from(`\r\n--${boundary}--\r\n`);
  const bytes = sumOf(heads, ({ length }) => length) + sumOf(parts, lengthOf) + tail.length;
  const sent = {
    ...headers,
    'Content-Type': `multipart/byteranges; boundary=${boundary}`,
    'Content-Length': bytes,
  };
  const pieces = framed(parts, heads, tail, await file.pieces(parts));
  return { status: 206, headers: sent, body: { pieces, bytes } };
}

/** Parts up to this size are sent in one write with their part header. */
const JOINED_BYTES_MAX = 64 * 1024;

async function* framed(
  parts: readonly Part[],
  heads: readonly Buffer[],
  tail: Buffer,
  pieces: AsyncIterable<Buffer>,
): AsyncGenerator<Buffer> {
  let next = 0;
  let missing = 0;
  for await (const piece of pieces) {
    const head = missing === 0 ? heads[next] : undefined;
    const part = parts[next];
    if (head && part) {
      missing = lengthOf(part);
      next++;
    }
    missing -= piece.length;
    if (head && piece.length <= JOINED_BYTES_MAX) {
      yield Buffer.concat([head, piece]);
      continue;
    }
    if (head) yield head;
    yield piece;
  }
  yield tail;
}

/**
 * Ignores `Cache-Control: no-cache` in the request: the ETag is strong and identifies the exact content, and
 * the directive is meant for caches between client and server. fetch() adds it to every request with
 * If-None-Match, and `fresh` would then send the content again.
 */
export function isFresh(
  { 'if-none-match': ifNoneMatch }: IncomingHttpHeaders,
  etag: string,
): boolean {
  return fresh({ 'if-none-match': ifNoneMatch }, { etag });
}

/** The most ranges that containers/storage requests at once (`maxNumberMissingChunks`). */
const PARTS_MAX = 1024;
/** The most ranges that may overlap or go backwards: RFC 9110 (14.2) lets a server ignore more than two. */
const STEPS_BACK_MAX = 2;

/**
 * Returns undefined to send the whole file: if there is no range, if it is malformed or belongs to other
 * content, or if the ranges exceed the size of the file or look like an attack (too many, or too often out of
 * order).
 */
function partsOf(
  { range, 'if-range': ifRange }: IncomingHttpHeaders,
  etag: string,
  size: number,
): readonly Part[] | 'unsatisfiable' | undefined {
  // An If-Range date never matches: blobs are identified by digest and have no date.
  if (range === undefined || (ifRange !== undefined && ifRange !== etag)) return undefined;
  if (!range.startsWith('bytes=')) return undefined;
  const parts = parseRange(size, withoutLongSuffixes(range, size));
  if (parts === -1) return 'unsatisfiable';
  if (parts === -2) return undefined;
  const stepsBack = parts.filter(({ start }, at) => at > 0 && start <= (parts[at - 1]?.end ?? 0));
  const isMeantWell =
    parts.length <= PARTS_MAX &&
    stepsBack.length <= STEPS_BACK_MAX &&
    sumOf(parts, lengthOf) <= size;
  return isMeantWell ? parts : undefined;
}

/** A suffix longer than the file selects all of it (RFC 9110, 14.1.2), but range-parser rejects it. */
function withoutLongSuffixes(range: string, size: number): string {
  return range.replace(/([=,]\s*)-(\d+)/g, (text, before, length) =>
    Number(length) > size ? `${before}-${size}` : text,
  );
}

function lengthOf({ start, end }: Part): number {
  return end - start + 1;
}

function contentRange({ start, end }: Part, size: number): string {
  return `bytes ${start}-${end}/${size}`;
}

function sumOf<T>(all: readonly T[], of: (each: T) => number): number {
  return all.reduce((sum, each) => sum + of(each), 0);
}

function foundHeaders({ digest, caching, headers }: Found) {
  return { ETag: `"${digest}"`, 'Cache-Control': cacheControl(caching), ...headers };
}

export function notModified(headers: Answer['headers']): Answer {
  return { status: 304, headers, body: undefined };
}

export function answerRefusal(refusal: Refusal, headers: Answer['headers'] = {}): Answer {
  const body = refusalBody(refusal);
  return {
    status: refusal.status,
    headers: {
      'Content-Type': 'application/json',
      'Content-Length': body.length,
      'Cache-Control': 'no-store',
      ...headers,
    },
    body,
  };
}
