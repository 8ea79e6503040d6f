/** A blob in an object store: it is streamed to the client, or the client is redirected. */
import type { ServerResponse } from 'node:http';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { DropdockError } from '../../errors.js';
import type { Digest } from '../../image/digest.js';
import type { Body, Part } from '../../registry/body.js';
import type { ServedBlob } from '../../registry/source.js';
import { blobKey } from './object-keys.js';
import type { ObjectStore } from './object-store.js';
import { withRetry } from './retry-request.js';

export type BlobStore = Pick<ObjectStore, 'get' | 'open'>;

/** The source of blobs. */
export interface BlobPlace {
  readonly blobs: BlobStore;
  /** A URL with which everyone can read this key for a while. */
  signedUrl(key: string): Promise<string>;
}

export class ObjectBlob implements ServedBlob {
  constructor(
    readonly digest: Digest,
    /** Size from the snapshot; the store is first asked when bytes are sent. */
    readonly size: number,
    readonly place: BlobPlace,
  ) {}

  signedUrl(): Promise<string> {
    return this.place.signedUrl(blobKey(this.digest));
  }

  async send(part: Part): Promise<Body> {
    const body = await this.#open(part);
    return { live: (response) => pour(body, response, lengthOf(part), blobKey(this.digest)) };
  }

  /** Stores accept one range per request, so ranges that are close together share one. */
  async pieces(parts: readonly Part[]): Promise<AsyncIterable<Buffer>> {
    const [first, ...later] = joinNear(parts);
    if (first === undefined) throw new RangeError('no parts');
    // Opened before the response starts, so that a missing blob is reported as an error.
    return this.#cut(first, await this.#open(first), later);
  }

  async *#cut(first: Span, opened: Readable, later: readonly Span[]): AsyncGenerator<Buffer> {
    yield* cut(first, opened, blobKey(this.digest));
    for (const span of later) yield* cut(span, await this.#open(span), blobKey(this.digest));
  }

  async #open(part: Part): Promise<Readable> {
    const key = blobKey(this.digest);
    const { start, end } = part;
    const bytes = lengthOf(part);
    const range = bytes === this.size ? undefined : { start, end };
    const opened = await withRetry(() => this.place.blobs.open(key, range));
    if (opened === undefined) throw damaged(key, 'is missing');
    const { body, size } = opened;
    if (size !== bytes) {
      body.destroy();
      throw damaged(key, `has ${size} bytes instead of the ${bytes} requested`);
    }
    return body;
  }

  async readAll(): Promise<Buffer> {
    const key = blobKey(this.digest);
    const found = await this.place.blobs.get(key);
    if (found === undefined || found === 'same') throw damaged(key, 'is missing');
    return found.body;
  }

  async close(): Promise<void> {}
}

/** One request to the store: from the first of its parts to the last. */
interface Span extends Part {
  /** In ascending order. */
  readonly parts: readonly Part[];
}

/** Reading and discarding a gap of this size is faster than another request. */
const GAP_BYTES_MAX = 64 * 1024;

function joinNear(parts: readonly Part[]): Span[] {
  const spans: Span[] = [];
  for (const part of parts) {
    const last = spans.at(-1);
    const gap = last === undefined ? -1 : part.start - last.end - 1;
    if (last === undefined || gap < 0 || gap > GAP_BYTES_MAX) {
      spans.push({ start: part.start, end: part.end, parts: [part] });
    } else {
      spans[spans.length - 1] = { ...last, end: part.end, parts: [...last.parts, part] };
    }
  }
  return spans;
}

/** Yields the bytes of the parts of a span; no chunk contains bytes of two parts. */
async function* cut(span: Span, body: Readable, key: string): AsyncGenerator<Buffer> {
  let position = span.start;
  const parts = [...span.parts];
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      const end = position + chunk.length;
      for (let part = parts[0]; part !== undefined && part.start < end; part = parts[0]) {
        const from = Math.max(part.start, position) - position;
        yield chunk.subarray(from, Math.min(part.end + 1, end) - position);
        if (part.end >= end) break;
        parts.shift();
      }
      position = end;
    }
  } catch (error) {
    throw damaged(key, `was interrupted at byte ${position} of ${span.end + 1}`, error as Error);
  } finally {
    body.destroy();
  }
  if (position <= span.end) throw damaged(key, `ended at byte ${position} of ${span.end + 1}`);
}

function lengthOf({ start, end }: Part): number {
  return end - start + 1;
}

/** Buffers only what the streams hold. An incomplete response is aborted, not ended. */
async function pour(
  body: Readable,
  response: ServerResponse,
  bytes: number,
  key: string,
): Promise<void> {
  let poured = 0;
  body.on('data', (chunk: Buffer) => {
    poured += chunk.length;
  });
  let trouble: Error | undefined;
  body.on('error', (error) => {
    trouble = error;
  });
  try {
    await pipeline(body, response, { end: false });
  } catch (error) {
    // Distinguishes whether the client or the store disconnected.
    if (trouble === undefined || response.destroyed) throw error;
    throw damaged(key, `was interrupted after ${poured} of ${bytes} bytes`, trouble);
  }
  if (poured !== bytes) throw damaged(key, `ended after ${poured} of ${bytes} bytes`);
  response.end();
}

export function damaged(key: string, what: string, cause?: Error): DropdockError {
  return new DropdockError('target.damaged', `${key} ${what}.`, { path: key }, cause);
}
