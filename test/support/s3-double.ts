/**
 * A small S3 in memory, with the semantics AWS documents for conditional writes, or the quirks of Ceph's
 * gateway, and configurable failures. It counts requests, checks Content-MD5, and accepts every
 * signature.
 */

import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gunzipSync } from 'node:zlib';
import { crash } from '#src/crash.js';

export interface DoubleObject {
  readonly body: Buffer;
  readonly etag: string;
  readonly headers: Readonly<Record<string, string>>;
  modifiedMs: number;
}

interface Upload {
  readonly key: string;
  readonly headers: Record<string, string>;
  readonly parts: Map<number, Buffer>;
  begunMs: number;
}

export interface DoubleRequest {
  readonly method: string;
  /** Decoded, without the bucket. */
  readonly key: string;
  /** What it does: `put`, `get`, `head`, `list`, `copy`, `delete`, `begin`, `part`, `end`, … */
  readonly what: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage['headers'];
  /** Bytes that came with it. */
  bytes: number;
  status?: number;
}

/**
 * 'cut before' and 'cut after' end the connection before or after it is done; 'silent after' does it
 * and never answers; a number is a status: 409, 412, 500, 503 without doing it.
 */
export type Trouble = 'cut before' | 'cut after' | 'silent after' | 'error after' | number;

export interface DoubleOptions {
  /** 'radosgw': a quoted ETag in If-Match never matches, and a missing key is 412. */
  readonly kind?: 'aws' | 'radosgw';
  /** Ignores the conditions of puts, as a versioned bucket of Ceph does. */
  readonly ignoresConditions?: boolean;
  readonly port?: number;
}

const NAME_OF_STATUS: Readonly<Record<number, string>> = {
  400: 'InvalidRequest',
  403: 'AccessDenied',
  404: 'NoSuchKey',
  409: 'ConditionalRequestConflict',
  412: 'PreconditionFailed',
  416: 'InvalidRange',
  500: 'InternalError',
  503: 'SlowDown',
};

class Refused extends Error {
  constructor(
    readonly status: number,
    readonly code = NAME_OF_STATUS[status] ?? 'Error',
  ) {
    super(code);
  }
}

const BUCKET = 'images';
const KEPT_HEADERS = /^(content-type|cache-control|content-encoding|x-amz-meta-.*)$/;

export class S3Double {
  readonly objects = new Map<string, DoubleObject>();
  readonly uploads = new Map<string, Upload>();
  readonly requests: DoubleRequest[] = [];
  readonly bucket = BUCKET;
  /** Asked for each request before it is done. */
  trouble: ((request: DoubleRequest) => Trouble | undefined) | undefined;
  /** How long each answer takes (ms). */
  delayMs = 0;
  /** Objects are dated by it. */
  nowMs = () => Date.now();
  readonly #options: DoubleOptions;
  readonly #server: Server;
  #serial = 0;

  private constructor(options: DoubleOptions) {
    this.#options = options;
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch(crash);
    });
  }

  static async start(options: DoubleOptions = {}): Promise<S3Double> {
    const double = new S3Double(options);
    await new Promise<void>((resolve) =>
      double.#server.listen(options.port ?? 0, '127.0.0.1', resolve),
    );
    return double;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** An object's content, unpacked. */
  read(key: string): Buffer | undefined {
    const object = this.objects.get(key);
    if (object === undefined) return undefined;
    return object.headers['content-encoding'] === 'gzip' ? gunzipSync(object.body) : object.body;
  }

  /** How many requests of each kind since the last call, as `put 3`. */
  count(): Record<string, number> {
    const counts: Record<string, number> = {};
    for (const { what } of this.requests.splice(0)) counts[what] = (counts[what] ?? 0) + 1;
    return counts;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://double');
    const [, bucket = '', ...rest] = url.pathname.split('/').map(decodeURIComponent);
    const key = rest.join('/');
    const { method = 'GET', headers } = request;
    const what = nameOf(method, key, url.searchParams, headers);
    const asked: DoubleRequest = { method, key, what, query: url.searchParams, headers, bytes: 0 };
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of request) chunks.push(chunk as Buffer);
    } catch {
      return;
    }
    const body = Buffer.concat(chunks);
    asked.bytes = body.length;
    this.requests.push(asked);
    const trouble = this.trouble?.(asked);
    if (this.delayMs > 0) await new Promise((resolve) => setTimeout(resolve, this.delayMs));
    if (trouble === 'cut before') return void request.socket.destroy();
    response.setHeader('date', new Date(this.nowMs()).toUTCString());
    try {
      if (typeof trouble === 'number') throw new Refused(trouble);
      if (bucket !== BUCKET) throw new Refused(404, 'NoSuchBucket');
      const done = this.#do(asked, body);
      if (trouble === 'error after') throw new Refused(500);
      if (trouble === 'cut after') return void request.socket.destroy();
      if (trouble === 'silent after') return;
      asked.status = done.status;
      response.writeHead(done.status, done.headers);
      response.end(method === 'HEAD' ? undefined : done.body);
    } catch (error) {
      const { status, code } = error instanceof Refused ? error : new Refused(500);
      asked.status = status;
      response.writeHead(status, { 'content-type': 'application/xml' });
      const text = `<Error><Code>${code}</Code><Message></Message></Error>`;
      response.end(method === 'HEAD' || status === 304 ? undefined : text);
    }
  }

  #do(asked: DoubleRequest, body: Buffer): Answer {
    const { key, what, headers, query } = asked;
    switch (what) {
      case 'get':
      case 'head':
        return this.#get(key, headers);
      case 'put':
        this.#checkConditions(key, headers);
        checkMd5(headers, body);
        return this.#store(key, body, headers, md5(body, 'hex'));
      case 'copy':
        return this.#copy(key, headers);
      case 'list':
        return this.#list(query);
      case 'delete many':
        for (const [, each = ''] of body.toString().matchAll(/<Key>([^<]*)<\/Key>/g)) {
          this.objects.delete(unescapeXml(each));
        }
        return xml('<DeleteResult></DeleteResult>');
      case 'delete':
        this.objects.delete(key);
        return { status: 204 };
      default:
        return this.#upload(asked, body);
    }
  }

  #get(key: string, headers: IncomingMessage['headers']): Answer {
    const object = this.objects.get(key);
    if (object === undefined) throw new Refused(404);
    const { etag, body } = object;
    if (headers['if-none-match'] === etag) throw new Refused(304, 'NotModified');
    const shared = {
      ...object.headers,
      etag,
      'accept-ranges': 'bytes',
      'last-modified': new Date(object.modifiedMs).toUTCString(),
    };
    const [, first, last] = /^bytes=(\d*)-(\d*)$/.exec(headers.range ?? '') ?? [];
    if (first === undefined) {
      return { status: 200, headers: { ...shared, 'content-length': body.length }, body };
    }
    const start = first === '' ? Math.max(0, body.length - Number(last)) : Number(first);
    const end = first !== '' && last ? Math.min(Number(last), body.length - 1) : body.length - 1;
    if (start > end) throw new Refused(416);
    const part = body.subarray(start, end + 1);
    const range = `bytes ${start}-${end}/${body.length}`;
    const ranged = { ...shared, 'content-range': range, 'content-length': part.length };
    return { status: 206, headers: ranged, body: part };
  }

  #checkConditions(key: string, headers: IncomingMessage['headers']): void {
    if (this.#options.ignoresConditions) return;
    const isRados = this.#options.kind === 'radosgw';
    const { 'if-match': match, 'if-none-match': noneMatch } = headers;
    const etag = this.objects.get(key)?.etag;
    if (noneMatch === '*' && etag !== undefined) throw new Refused(412);
    if (match === undefined) return;
    if (etag === undefined) throw new Refused(isRados ? 412 : 404);
    const bare = etag.slice(1, -1);
    if (match !== bare && (isRados || match !== etag)) throw new Refused(412);
  }

  #store(
    key: string,
    body: Buffer,
    headers: IncomingMessage['headers'] | Record<string, string>,
    hash: string,
  ): Answer {
    const kept = Object.entries(headers).filter(([name]) => KEPT_HEADERS.test(name));
    const etag = `"${hash}"`;
    const object = { body, etag, headers: Object.fromEntries(kept) as Record<string, string> };
    this.objects.set(key, { ...object, modifiedMs: this.nowMs() });
    return { status: 200, headers: { etag } };
  }

  #copy(key: string, headers: IncomingMessage['headers']): Answer {
    const source = decodeURIComponent(String(headers['x-amz-copy-source'])).replace(/^\//, '');
    const object = this.objects.get(source.slice(BUCKET.length + 1));
    if (object === undefined) throw new Refused(404);
    const replaces = headers['x-amz-metadata-directive'] === 'REPLACE';
    if (!replaces && source === `${BUCKET}/${key}`) throw new Refused(400);
    this.#store(key, object.body, replaces ? headers : object.headers, object.etag.slice(1, -1));
    return xml(`<CopyObjectResult><ETag>${object.etag}</ETag></CopyObjectResult>`);
  }

  #list(query: URLSearchParams): Answer {
    const prefix = query.get('prefix') ?? '';
    const delimiter = query.get('delimiter');
    const most = Number(query.get('max-keys') ?? 1000);
    const after = query.get('continuation-token') ?? query.get('start-after') ?? '';
    const entries: string[] = [];
    const directories = new Set<string>();
    let last = '';
    let isTruncated = false;
    for (const key of [...this.objects.keys()].sort()) {
      if (!key.startsWith(prefix) || key <= after) continue;
      const cut = delimiter === null ? -1 : key.indexOf(delimiter, prefix.length);
      const directory = cut < 0 ? undefined : key.slice(0, cut + 1);
      if (directory !== undefined && (directories.has(directory) || after.startsWith(directory))) {
        continue;
      }
      if (entries.length + directories.size >= most) {
        isTruncated = true;
        break;
      }
      last = directory === undefined ? key : `${directory}\uffff`;
      if (directory !== undefined) directories.add(directory);
      else entries.push(this.#listed(key));
    }
    const prefixes = [...directories].map(
      (each) => `<CommonPrefixes><Prefix>${escapeXml(each)}</Prefix></CommonPrefixes>`,
    );
    const next = `<NextContinuationToken>${escapeXml(last)}</NextContinuationToken>`;
    return xml(
      `<ListBucketResult><IsTruncated>${isTruncated}</IsTruncated>${isTruncated ? next : ''}${entries.join('')}${prefixes.join('')}</ListBucketResult>`,
    );
  }

  #listed(key: string): string {
    const { body, etag, modifiedMs } = this.objects.get(key) as DoubleObject;
    const date = new Date(modifiedMs).toISOString();
    return `<Contents><Key>${escapeXml(key)}</Key><Size>${body.length}</Size><ETag>${escapeXml(etag)}</ETag><LastModified>${date}</LastModified></Contents>`;
  }

  #upload({ what, key, query, headers }: DoubleRequest, body: Buffer): Answer {
    if (what === 'uploads') {
      const all = [...this.uploads].map(
        ([id, { key: of, begunMs }]) =>
          `<Upload><Key>${escapeXml(of)}</Key><UploadId>${id}</UploadId><Initiated>${new Date(begunMs).toISOString()}</Initiated></Upload>`,
      );
      return xml(`<ListMultipartUploadsResult>${all.join('')}</ListMultipartUploadsResult>`);
    }
    if (what === 'begin') {
      const id = `upload-${++this.#serial}`;
      const kept = Object.entries(headers).filter(([name]) => KEPT_HEADERS.test(name));
      const upload = { key, headers: Object.fromEntries(kept) as Record<string, string> };
      this.uploads.set(id, { ...upload, parts: new Map(), begunMs: this.nowMs() });
      return xml(
        `<InitiateMultipartUploadResult><UploadId>${id}</UploadId></InitiateMultipartUploadResult>`,
      );
    }
    const id = query.get('uploadId') ?? '';
    const upload = this.uploads.get(id);
    if (upload === undefined) throw new Refused(404, 'NoSuchUpload');
    if (what === 'part') {
      checkMd5(headers, body);
      upload.parts.set(Number(query.get('partNumber')), body);
      return { status: 200, headers: { etag: `"${md5(body, 'hex')}"` } };
    }
    this.uploads.delete(id);
    if (what === 'abort') return { status: 204 };
    const numbers = [...body.toString().matchAll(/<PartNumber>(\d+)<\/PartNumber>/g)];
    const parts = numbers.map(([, number]) => upload.parts.get(Number(number)) ?? Buffer.alloc(0));
    const whole = Buffer.concat(parts);
    this.#store(key, whole, upload.headers, `${md5(whole, 'hex')}-${parts.length}`);
    return xml('<CompleteMultipartUploadResult></CompleteMultipartUploadResult>');
  }
}

interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string | number>>;
  readonly body?: Buffer;
}

function nameOf(
  method: string,
  key: string,
  query: URLSearchParams,
  headers: IncomingMessage['headers'],
): string {
  if (query.has('uploads')) return method === 'POST' ? 'begin' : 'uploads';
  if (query.has('uploadId')) {
    return method === 'PUT' ? 'part' : method === 'POST' ? 'end' : 'abort';
  }
  if (method === 'POST' && query.has('delete')) return 'delete many';
  if (method === 'GET' && key === '') return 'list';
  if (method === 'PUT' && headers['x-amz-copy-source'] !== undefined) return 'copy';
  return method.toLowerCase();
}

function xml(text: string): Answer {
  const body = Buffer.from(`<?xml version="1.0" encoding="UTF-8"?>\n${text}`);
  return { status: 200, headers: { 'content-type': 'application/xml' }, body };
}

function md5(body: Buffer, encoding: 'hex' | 'base64'): string {
  return createHash('md5').update(body).digest(encoding);
}

function checkMd5(headers: IncomingMessage['headers'], body: Buffer): void {
  const given = headers['content-md5'];
  if (given !== undefined && given !== md5(body, 'base64')) throw new Refused(400, 'BadDigest');
}

function escapeXml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;');
}

function unescapeXml(text: string): string {
  return text.replaceAll('&quot;', '"').replaceAll('&lt;', '<').replaceAll('&amp;', '&');
}
