/** Response bodies, as a source provides them. */
import type { ServerResponse } from 'node:http';
import type { OpenFile } from '../storage/serving.js';

export type Body =
  | Buffer
  | ({ readonly file: OpenFile } & Part)
  /** `bytes` bytes in total, read while they are sent. */
  | { readonly pieces: AsyncIterable<Buffer>; readonly bytes: number }
  /** A stream that runs until the client disconnects or the stream is ended; the promise resolves then. */
  | { readonly live: (response: ServerResponse) => Promise<void> };

/** A part of a file: first and last byte, both inclusive. */
export interface Part {
  readonly start: number;
  readonly end: number;
}
