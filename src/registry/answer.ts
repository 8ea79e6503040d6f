/**
 * From what was found to what is sent: status, headers, conditions and ranges. Which requests are
 * fresh and what a Range header asks for is judged by `fresh` and `range-parser`, as in Express.
 */
import type { IncomingHttpHeaders, ServerResponse } from 'node:http';
import fresh from 'fresh';
import parseRange from 'range-parser';
import type { OpenFile } from '../disk/serving.js';
import type { Digest } from '../image/digest.js';
import { type Refusal, refusalBody } from './refusal.js';
import type { ServedBlob } from './source.js';

export interface Answer {
  readonly status: number;
  /** A list is sent as a line each. */
  readonly headers: Readonly<Record<string, string | number | string[]>>;
  readonly body: Body | undefined;
}

export type Body =
  | Buffer
  | ({ readonly file: OpenFile } & Part)
  /** Goes on until the client has gone or it is ended; resolves then. */
  | { readonly live: (response: ServerResponse) => Promise<void> };

/** Of a file: first and last byte. */
export interface Part {
  readonly start: number;
  readonly end: number;
}

/** How long something may be kept, and by whom. */
export interface Caching {
  /** Named by a digest: it never changes. */
  readonly immutable: boolean;
  /** Only those who may read it: not for caches that others share. */
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
  /** Of all of it: its strong ETag. */
  readonly digest: Digest;
  readonly caching: Caching;
  readonly headers?: Readonly<Record<string, string>>;
}

/** A whole text or manifest. */
export function answerBytes(request: IncomingHttpHeaders, found: Found, bytes: Buffer): Answer {
  const headers = foundHeaders(found);
  if (isFresh(request, headers.ETag)) return notModified(headers);
  return {
    status: 200,
    headers: { ...headers, 'Content-Type': found.type, 'Content-Length': bytes.length },
    body: bytes,
  };
}

/**
 * A file or one range of it. Several ranges at once are answered with all of it, which RFC 9110
 * (14.2) allows and clients of registries do not ask for. The file is closed where it is not sent.
 */
export async function answerFile(
  { headers: request, isHead }: { readonly headers: IncomingHttpHeaders; readonly isHead: boolean },
  found: Found,
  file: Pick<ServedBlob, 'size' | 'send' | 'close'>,
): Promise<Answer> {
  const { size } = file;
  const headers = { ...foundHeaders(found), 'Accept-Ranges': 'bytes' };
  if (isFresh(request, headers.ETag)) {
    await file.close();
    return notModified(headers);
  }
  // RFC 9110, 14.2: a range is for GET alone.
  const range = isHead ? undefined : rangeOf(request, headers.ETag, size);
  if (range === 'unsatisfiable') {
    await file.close();
    const refused = answerRefusal({ status: 416, code: 'RANGE_INVALID' });
    return { ...refused, headers: { ...refused.headers, 'Content-Range': `bytes */${size}` } };
  }
  const { start, end } = range ?? { start: 0, end: size - 1 };
  const isSent = size > 0 && !isHead;
  if (!isSent) await file.close();
  const sent = {
    ...headers,
    'Content-Type': found.type,
    'Content-Length': end - start + 1,
    ...(range && { 'Content-Range': `bytes ${start}-${end}/${size}` }),
  };
  const body = isSent ? await file.send({ start, end }) : undefined;
  return { status: range ? 206 : 200, headers: sent, body };
}

/**
 * The ETag is strong and of the very content, so a client that has it has it, also one that says
 * `Cache-Control: no-cache`: that is meant for caches on the way (`fresh` would send all again), and
 * fetch() says it by itself with every If-None-Match.
 */
export function isFresh(
  { 'if-none-match': ifNoneMatch }: IncomingHttpHeaders,
  etag: string,
): boolean {
  return fresh({ 'if-none-match': ifNoneMatch }, { etag });
}

/** Undefined for the whole file: no range, one that is malformed, several, or one of another file. */
function rangeOf(
  { range, 'if-range': ifRange }: IncomingHttpHeaders,
  etag: string,
  size: number,
): Part | 'unsatisfiable' | undefined {
  // If-Range with a date cannot match: blobs are known by digest and have no date.
  if (range === undefined || (ifRange !== undefined && ifRange !== etag)) return undefined;
  if (!range.startsWith('bytes=')) return undefined;
  // A suffix longer than the file is all of it (RFC 9110, 14.1.2); range-parser finds none there.
  const suffix = Number(/^bytes=-(\d+)$/.exec(range)?.[1] ?? 0);
  if (size > 0 && suffix > size) return { start: 0, end: size - 1 };
  const ranges = parseRange(size, range);
  if (ranges === -1) return 'unsatisfiable';
  if (ranges === -2 || ranges.length !== 1) return undefined;
  return ranges[0];
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
