/** A blob on an object store: its bytes pass through as they come, or clients are sent there. */
import type { ServerResponse } from 'node:http';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { DropdockError } from '../errors.js';
import type { Digest } from '../image/digest.js';
import { blobKey } from '../objects/layout.js';
import { patiently } from '../objects/patience.js';
import type { ObjectStore } from '../objects/store.js';
import type { Body, Part } from './answer.js';
import type { ServedBlob } from './source.js';

export type BlobStore = Pick<ObjectStore, 'get' | 'open'>;

/** Where blobs are had from. */
export interface BlobPlace {
  readonly blobs: BlobStore;
  /** Lets whoever has it read this key for a while. */
  signedUrl(key: string): Promise<string>;
}

export class ObjectBlob implements ServedBlob {
  constructor(
    readonly digest: Digest,
    /** Bytes; its snapshot says so, and nothing is asked of the store before some are sent. */
    readonly size: number,
    readonly place: BlobPlace,
  ) {}

  signedUrl(): Promise<string> {
    return this.place.signedUrl(blobKey(this.digest));
  }

  async send({ start, end }: Part): Promise<Body> {
    const key = blobKey(this.digest);
    const bytes = end - start + 1;
    const range = bytes === this.size ? undefined : { start, end };
    const opened = await patiently(() => this.place.blobs.open(key, range));
    if (opened === undefined) throw damaged(key, 'is missing');
    const { body, size } = opened;
    if (size !== bytes) {
      body.destroy();
      throw damaged(key, `has ${size} bytes where ${bytes} were asked for`);
    }
    return { live: (response) => pour(body, response, bytes, key) };
  }

  async readAll(): Promise<Buffer> {
    const key = blobKey(this.digest);
    const found = await this.place.blobs.get(key);
    if (found === undefined || found === 'same') throw damaged(key, 'is missing');
    return found.body;
  }

  async close(): Promise<void> {}
}

/** Never more in memory than the streams hold; what ends too early is cut off, not ended. */
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
    // Who went away, the client or the store?
    if (trouble === undefined || response.destroyed) throw error;
    throw damaged(key, `broke off after ${poured} of ${bytes} bytes`, trouble);
  }
  if (poured !== bytes) throw damaged(key, `ended after ${poured} of ${bytes} bytes`);
  response.end();
}

export function damaged(key: string, what: string, cause?: Error): DropdockError {
  return new DropdockError('target.damaged', `${key} ${what}.`, { path: key }, cause);
}
