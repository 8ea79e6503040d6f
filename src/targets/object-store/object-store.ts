/**
 * The interface to an object store, independent of the SDK. s3-client.ts and s3-store.ts implement it with
 * S3. Keys are those of object-keys.ts; the implementation adds the prefix.
 *
 * A request is sent once. An error is thrown as `target.failed`; its detail `outcome` tells whether the store
 * refused the request ('refused') or the outcome is unknown ('unknown').
 */
import type { Readable } from 'node:stream';
import { DropdockError } from '../../errors.js';

/** The attributes of an object for its readers. */
export interface Attributes {
  readonly contentType: string;
  readonly cacheControl: string;
  readonly contentEncoding?: 'gzip';
  /** Our metadata, returned by `head`. Names in lower case, values in ASCII. */
  readonly metadata?: Readonly<Record<string, string>>;
}

export interface ObjectFacts {
  /** Opaque, as returned by the store. */
  readonly etag: string;
  /** Bytes. */
  readonly size: number;
  /** By the store's clock (ms). */
  readonly modifiedMs: number;
  /** The store's clock in the response (ms); undefined if the response has no time. */
  readonly storeMs: number | undefined;
  readonly metadata: Readonly<Record<string, string>>;
  readonly contentType: string | undefined;
}

export interface StoredObject extends ObjectFacts {
  /** Decompressed, if it was compressed. */
  readonly body: Buffer;
}

/** The write only happens if the condition is true. */
export type Condition = { readonly absent: true } | { readonly etag: string };

/** 'lost': the condition was false, so this request wrote nothing. */
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
  /** Prefixes up to the next slash, if requested. */
  readonly directories: readonly string[];
  readonly storeMs: number | undefined;
}

/** An unfinished multipart upload. */
export interface Upload {
  readonly key: string;
  readonly uploadId: string;
}

export interface ObjectStore {
  /** The target's name in the settings. */
  readonly target: string;
  /** Undefined if there is no object; 'same' if its ETag is `etag`. */
  get(key: string, etag?: string): Promise<StoredObject | 'same' | undefined>;
  head(key: string): Promise<ObjectFacts | undefined>;
  /** Streams the bytes for a client; `end` is inclusive. Undefined if there is no object. */
  open(
    key: string,
    range?: { readonly start: number; readonly end: number },
  ): Promise<{ readonly body: Readable; readonly size: number } | undefined>;
  /** A URL with which everyone can read the key for this time. */
  presign(key: string, seconds: number): Promise<string>;
  put(
    key: string,
    body: Uint8Array,
    attributes: Attributes,
    condition?: Condition,
  ): Promise<PutResult>;
  /** Renews the time of the object without sending its bytes. False if there is no object. */
  touch(key: string, attributes: Attributes): Promise<boolean>;
  /** In pages, sorted by key. */
  list(prefix: string, options?: { readonly directories?: boolean }): AsyncIterable<ListedPage>;
  /** Missing keys are ignored. At most 1,000 keys. */
  remove(keys: readonly string[]): Promise<void>;
  beginUpload(key: string, attributes: Attributes): Promise<Upload>;
  /** @param number starts at 1 @returns the part's ETag */
  putPart(upload: Upload, number: number, body: Uint8Array): Promise<string>;
  endUpload(upload: Upload, etags: readonly string[]): Promise<void>;
  abortUpload(upload: Upload): Promise<void>;
  /** Multipart uploads that were neither completed nor aborted. */
  listUploads(): AsyncIterable<readonly (Upload & { readonly begunMs: number })[]>;
  /** Closes idle connections. */
  close(): void;
}

/** The settings of a target. */
export interface StoreOptions {
  readonly target: string;
  readonly endpoint?: string | undefined;
  readonly bucket: string;
  readonly prefix: string;
  readonly region: string;
  readonly pathStyle: boolean;
  readonly credentialsFile?: string | undefined;
  /** Time limit of one request (ms). */
  readonly timeoutMs: number;
  /** Concurrent requests; more requests wait. */
  readonly sockets?: number;
}

/** True if the request may have succeeded: read the object again. */
export function isOutcomeUnknown(error: unknown): boolean {
  return error instanceof DropdockError && error.details.outcome === 'unknown';
}

/** The error of a body from `open` that ended too early. A full disk is not an error of the store. */
export function cutOff(target: string, key: string, error: unknown): Error {
  const { code = 'Error', syscall } = error as {
    readonly code?: string;
    readonly syscall?: string;
  };
  if (syscall !== undefined && syscall !== 'read') return error as Error;
  return new DropdockError('target.failed', `The target ${target} interrupted ${key} (${code}).`, {
    path: key,
    target,
    outcome: 'unknown',
  });
}
