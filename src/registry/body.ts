/** What is sent to a client, as a source gives it. */
import type { ServerResponse } from 'node:http';
import type { OpenFile } from '../storage/serving.js';

export type Body =
  | Buffer
  | ({ readonly file: OpenFile } & Part)
  /** So many bytes, read while they are sent. */
  | { readonly pieces: AsyncIterable<Buffer>; readonly bytes: number }
  /** Goes on until the client has gone or it is ended; resolves then. */
  | { readonly live: (response: ServerResponse) => Promise<void> };

/** Of a file: first and last byte. */
export interface Part {
  readonly start: number;
  readonly end: number;
}
