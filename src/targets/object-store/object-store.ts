/**
 * What is asked of a store of objects, in our words. client.ts answers it with S3; whoever holds one
 * of these knows no SDK. Keys are those of layout.ts: the prefix is the door's business.
 *
 * A request is sent once. What failed is thrown as `target.failed`, whose detail `outcome` says
 * whether the store refused it ('refused') or nobody knows what became of it ('unknown').
 */
import type { Readable } from 'node:stream';
import { DropdockError } from '../../errors.js';

/** What an object says of itself to whoever reads it. */
export interface Attributes {
  readonly contentType: string;
  readonly cacheControl: string;
  readonly contentEncoding?: 'gzip';
  /** Ours: what `head` tells again. Names in lower case, values in ASCII. */
  readonly metadata?: Readonly<Record<string, string>>;
}

export interface ObjectFacts {
  /** As the store gave it, opaque. */
  readonly etag: string;
  /** Bytes. */
  readonly size: number;
  /** By the store's clock (ms). */
  readonly modifiedMs: number;
  /** The store's clock at the answer (ms); undefined where it says no time. */
  readonly storeMs: number | undefined;
  readonly metadata: Readonly<Record<string, string>>;
  readonly contentType: string | undefined;
}

export interface StoredObject extends ObjectFacts {
  /** Unpacked, if it was packed. */
  readonly body: Buffer;
}

/** Holds for the whole write or the write does not happen. */
export type Condition = { readonly absent: true } | { readonly etag: string };

/** 'lost': the condition did not hold, nothing was written by this request. */
export type PutResult =
  | { readonly status: 'done'; readonly etag: string }
  | { readonly status: 'lost'; readonly code: number };

export interface ListedObject {
  readonly key: string;
  readonly size: number;
  readonly modifiedMs: number;
}

export interface ListedPage {
  readonly objects: readonly ListedObject[];
  /** What lies below `prefix` up to the next slash, where that was asked for. */
  readonly directories: readonly string[];
  readonly storeMs: number | undefined;
}

/** An upload in parts that somebody began. */
export interface Upload {
  readonly key: string;
  readonly uploadId: string;
}

export interface ObjectStore {
  /** The target's name in the settings. */
  readonly target: string;
  /** Undefined where there is none; 'same' when it is what `etag` names. */
  get(key: string, etag?: string): Promise<StoredObject | 'same' | undefined>;
  head(key: string): Promise<ObjectFacts | undefined>;
  /** For a client: its bytes as they come; `end` is inclusive. Undefined where there is none. */
  open(
    key: string,
    range?: { readonly start: number; readonly end: number },
  ): Promise<{ readonly body: Readable; readonly size: number } | undefined>;
  /** Whoever has this URL can read the key for so long. */
  presign(key: string, seconds: number): Promise<string>;
  put(
    key: string,
    body: Uint8Array,
    attributes: Attributes,
    condition?: Condition,
  ): Promise<PutResult>;
  /** Makes it new without sending its bytes again. False where there is none. */
  touch(key: string, attributes: Attributes): Promise<boolean>;
  /** In pages, sorted by key. */
  list(prefix: string, options?: { readonly directories?: boolean }): AsyncIterable<ListedPage>;
  /** What is not there is gone already. At most 1,000 at once. */
  remove(keys: readonly string[]): Promise<void>;
  beginUpload(key: string, attributes: Attributes): Promise<Upload>;
  /** @param number from 1 @returns the part's ETag */
  putPart(upload: Upload, number: number, body: Uint8Array): Promise<string>;
  endUpload(upload: Upload, etags: readonly string[]): Promise<void>;
  abortUpload(upload: Upload): Promise<void>;
  /** Uploads in parts that were neither ended nor aborted. */
  listUploads(): AsyncIterable<readonly (Upload & { readonly begunMs: number })[]>;
  /** Ends connections that idle. */
  close(): void;
}

/** What a target's settings say, as a value. */
export interface StoreOptions {
  readonly target: string;
  readonly endpoint?: string | undefined;
  readonly bucket: string;
  readonly prefix: string;
  readonly region: string;
  readonly pathStyle: boolean;
  readonly credentialsFile?: string | undefined;
  /** The longest one request may take (ms). */
  readonly timeoutMs: number;
  /** Requests at one time; more wait. */
  readonly sockets?: number;
}

/** True when the request may have been done after all: read back what is there. */
export function isOutcomeUnknown(error: unknown): boolean {
  return error instanceof DropdockError && error.details.outcome === 'unknown';
}

/** For a body of `open` that ended before its end. A disk that is full is no fault of the store's. */
export function cutOff(target: string, key: string, error: unknown): Error {
  const { code = 'Error', syscall } = error as {
    readonly code?: string;
    readonly syscall?: string;
  };
  if (syscall !== undefined && syscall !== 'read') return error as Error;
  return new DropdockError('target.failed', `The target ${target} broke off ${key} (${code}).`, {
    path: key,
    target,
    outcome: 'unknown',
  });
}
