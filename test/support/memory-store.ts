/**
 * A read-only object store in this process: it counts requests, and can be down, slow, or truncate
 * responses. The S3 double covers the behaviour of S3 itself.
 */
import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { DropdockError } from '#src/errors.js';
import type {
  ListedPage,
  ObjectStore,
  StoredObject,
} from '#src/targets/object-store/object-store.js';

const CHUNK_BYTES = 64 * 1024;

export type ReadableStore = Pick<ObjectStore, 'get' | 'open' | 'list' | 'presign'>;

export class MemoryStore implements ReadableStore {
  readonly objects = new Map<string, Buffer>();
  /** `get repos/app/current`, `open blobs/…`, and what came of it where that is not usual. */
  readonly asked: string[] = [];
  isAway = false;
  /** How long an answer is on its way; it tells what was there when it was asked for. */
  delay: () => Promise<unknown> = async () => {};
  /** Bytes that an opened object lacks at its end. */
  cutBytes = 0;
  /** Bytes of opened objects that were read. */
  readBytes = 0;
  /** Streams of opened objects. */
  readonly opened: Readable[] = [];

  put(key: string, body: string | Buffer): void {
    this.objects.set(key, Buffer.from(body));
  }

  /** How often something was asked that matches. */
  count(pattern: RegExp): number {
    return this.asked.filter((each) => pattern.test(each)).length;
  }

  async get(key: string, etag?: string): Promise<StoredObject | 'same' | undefined> {
    const body = await this.#find('get', key);
    if (body === undefined) return undefined;
    const found = etagOf(body);
    if (found === etag) {
      this.asked.push(`same ${key}`);
      return 'same';
    }
    return {
      etag: found,
      size: body.length,
      modifiedMs: 0,
      storeMs: undefined,
      metadata: {},
      contentType: undefined,
      body,
    };
  }

  async open(
    key: string,
    range?: { readonly start: number; readonly end: number },
  ): Promise<{ body: Readable; size: number } | undefined> {
    const whole = await this.#find('open', key);
    if (whole === undefined) return undefined;
    const part = range ? whole.subarray(range.start, range.end + 1) : whole;
    const sent = part.subarray(0, part.length - this.cutBytes);
    const body = Readable.from(this.#chunks(sent), { objectMode: false });
    this.opened.push(body);
    return { body, size: part.length };
  }

  async presign(key: string, seconds: number): Promise<string> {
    this.asked.push(`presign ${key}`);
    return `https://s3.example.com/bucket/${key}?X-Amz-Expires=${seconds}&X-Amz-Signature=abc`;
  }

  async *list(
    prefix: string,
    { directories = false }: { readonly directories?: boolean } = {},
  ): AsyncIterable<ListedPage> {
    await this.#find('list', prefix);
    const below = [...this.objects.keys()].filter((key) => key.startsWith(prefix)).sort();
    const names = new Set(below.map((key) => key.slice(prefix.length).split('/')[0] ?? ''));
    // Two pages, to detect code that reads only the first.
    const all = [...names];
    const half = Math.ceil(all.length / 2);
    for (const page of [all.slice(0, half), all.slice(half)]) {
      yield { objects: [], directories: directories ? page : [], storeMs: undefined };
    }
  }

  *#chunks(bytes: Buffer): Generator<Buffer> {
    for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
      const chunk = bytes.subarray(at, at + CHUNK_BYTES);
      this.readBytes += chunk.length;
      yield chunk;
    }
  }

  async #find(how: string, key: string): Promise<Buffer | undefined> {
    this.asked.push(`${how} ${key}`);
    const found = this.objects.get(key);
    await this.delay();
    if (this.isAway) throw new DropdockError('target.failed', 'The store is away.', { path: key });
    return found;
  }
}

function etagOf(body: Buffer): string {
  return `"${createHash('md5').update(body).digest('hex')}"`;
}
