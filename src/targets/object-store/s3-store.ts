/** An object store with the S3 protocol: AWS, Ceph's RADOS Gateway, MinIO, R2 and others. */
import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import type {
  Attributes,
  Condition,
  ListedPage,
  ObjectFacts,
  ObjectStore,
  PutResult,
  StoredObject,
  StoreOptions,
  Upload,
} from './object-store.js';
import { type Client, openClient, toFailure } from './s3-client.js';

export async function openStore(options: StoreOptions): Promise<ObjectStore> {
  return new S3Store(await openClient(options), options);
}

/** Runs in Node's thread pool: a large snapshot takes a quarter of a second. */
const unpack = promisify(gunzip);

type Opened = Awaited<ReturnType<ObjectStore['open']>>;

class S3Store implements ObjectStore {
  readonly target: string;
  readonly #client: Client;
  readonly #bucket: string;
  readonly #prefix: string;
  readonly #timeoutMs: number;

  constructor(client: Client, { target, bucket, prefix, timeoutMs }: StoreOptions) {
    this.target = target;
    this.#timeoutMs = timeoutMs;
    this.#client = client;
    this.#bucket = bucket;
    this.#prefix = prefix === '' ? '' : `${prefix}/`;
  }

  get(key: string, etag?: string): Promise<StoredObject | 'same' | undefined> {
    const asked = { ...this.#at(key), ...(etag !== undefined && { IfNoneMatch: etag }) };
    const meanings = { 404: undefined, 304: 'same' as const };
    return this.#client.ask<StoredObject | 'same' | undefined>(
      key,
      meanings,
      async (s3, options) => {
        const answer = await s3.getObject(asked, options);
        const sent = Buffer.from((await answer.Body?.transformToByteArray()) ?? []);
        const body = answer.ContentEncoding === 'gzip' ? await unpack(sent) : sent;
        return { ...factsOf(answer), body };
      },
    );
  }

  head(key: string): Promise<ObjectFacts | undefined> {
    return this.#client.ask<ObjectFacts | undefined>(key, { 404: undefined }, async (s3, options) =>
      factsOf(await s3.headObject(this.#at(key), options)),
    );
  }

  /** The response must begin in time, but its duration is not limited: a slow client may take hours. */
  open(key: string, range?: { readonly start: number; readonly end: number }): Promise<Opened> {
    const part = range && { Range: `bytes=${range.start}-${range.end}` };
    return this.#client.ask<Opened>(key, { 404: undefined }, async (s3) => {
      const late = new AbortController();
      const timer = setTimeout(() => late.abort(), this.#timeoutMs);
      const sent = s3.getObject({ ...this.#at(key), ...part }, { abortSignal: late.signal });
      const { Body, ContentLength = 0 } = await sent.finally(() => clearTimeout(timer));
      return { body: Body as Readable, size: ContentLength };
    });
  }

  presign(key: string, seconds: number): Promise<string> {
    return this.#client.presign(this.#at(key), seconds);
  }

  put(
    key: string,
    body: Uint8Array,
    attributes: Attributes,
    condition?: Condition,
  ): Promise<PutResult> {
    const lost = (code: number) => ({ status: 'lost' as const, code });
    const raced = condition ? { 412: lost(412), 409: lost(409) } : {};
    const gone = condition && 'etag' in condition ? { 404: lost(404) } : {};
    const asked = {
      ...this.#at(key),
      ...toHeaders(attributes),
      ...toBody(body),
      ...(condition && ('etag' in condition ? { IfMatch: condition.etag } : { IfNoneMatch: '*' })),
    };
    return this.#client.ask<PutResult>(key, { ...raced, ...gone }, async (s3, options) => {
      const { ETag = '' } = await s3.putObject(asked, options);
      return { status: 'done', etag: ETag };
    });
  }

  touch(key: string, attributes: Attributes): Promise<boolean> {
    const at = this.#at(key);
    const from = at.Key.split('/').map(encodeURIComponent).join('/');
    const CopySource = `${at.Bucket}/${from}`;
    const asked = { ...at, CopySource, ...toHeaders(attributes) };
    return this.#client.ask<boolean>(key, { 404: false }, async (s3, options) => {
      await s3.copyObject({ ...asked, MetadataDirective: 'REPLACE' }, options);
      return true;
    });
  }

  async *list(
    prefix: string,
    { directories = false }: { readonly directories?: boolean } = {},
  ): AsyncIterable<ListedPage> {
    const { Bucket, Key: Prefix } = this.#at(prefix);
    const asked = { Bucket, Prefix, ...(directories && { Delimiter: '/' }) };
    let token: string | undefined;
    do {
      const from = token === undefined ? {} : { ContinuationToken: token };
      const page = await this.#client.ask(prefix, {}, (s3, options) =>
        s3.listObjectsV2({ ...asked, ...from }, options),
      );
      yield {
        objects: (page.Contents ?? []).map(({ Key = '', Size = 0, LastModified }) => ({
          key: this.#keyOf(Key),
          size: Size,
          modifiedMs: LastModified?.getTime() ?? 0,
        })),
        directories: (page.CommonPrefixes ?? []).map((found) =>
          (found.Prefix ?? '').slice(Prefix.length, -1),
        ),
        storeMs: storeMsOf(page),
      };
      token = page.IsTruncated ? page.NextContinuationToken : undefined;
    } while (token !== undefined);
  }

  async remove(keys: readonly string[]): Promise<void> {
    const [first] = keys;
    if (first === undefined) return;
    const Objects = keys.map((key) => ({ Key: this.#at(key).Key }));
    const asked = { Bucket: this.#bucket, Delete: { Objects, Quiet: true } };
    const { Errors: [failed] = [] } = await this.#client.ask(first, {}, (s3, options) =>
      s3.deleteObjects(asked, options),
    );
    if (failed) throw toFailure(this.target, failed.Key ?? first, { code: failed.Code });
  }

  beginUpload(key: string, attributes: Attributes): Promise<Upload> {
    const asked = { ...this.#at(key), ...toHeaders(attributes) };
    return this.#client.ask(key, {}, async (s3, options) => {
      const { UploadId = '' } = await s3.createMultipartUpload(asked, options);
      return { key, uploadId: UploadId };
    });
  }

  putPart({ key, uploadId }: Upload, number: number, body: Uint8Array): Promise<string> {
    const asked = { ...this.#at(key), UploadId: uploadId, PartNumber: number, ...toBody(body) };
    return this.#client.ask(key, {}, async (s3, options) => {
      const { ETag = '' } = await s3.uploadPart(asked, options);
      return ETag;
    });
  }

  async endUpload({ key, uploadId }: Upload, etags: readonly string[]): Promise<void> {
    const Parts = etags.map((ETag, at) => ({ ETag, PartNumber: at + 1 }));
    const asked = { ...this.#at(key), UploadId: uploadId, MultipartUpload: { Parts } };
    await this.#client.ask(key, {}, (s3, options) => s3.completeMultipartUpload(asked, options));
  }

  async abortUpload({ key, uploadId }: Upload): Promise<void> {
    const asked = { ...this.#at(key), UploadId: uploadId };
    await this.#client.ask<unknown>(key, { 404: undefined }, (s3, options) =>
      s3.abortMultipartUpload(asked, options),
    );
  }

  async *listUploads(): AsyncIterable<readonly (Upload & { readonly begunMs: number })[]> {
    const asked = { Bucket: this.#bucket, Prefix: this.#prefix };
    let from: { KeyMarker?: string; UploadIdMarker?: string } | undefined = {};
    while (from !== undefined) {
      const marker: object = from;
      const page = await this.#client.ask(this.#prefix, {}, (s3, options) =>
        s3.listMultipartUploads({ ...asked, ...marker }, options),
      );
      yield (page.Uploads ?? []).map(({ Key = '', UploadId = '', Initiated }) => ({
        key: this.#keyOf(Key),
        uploadId: UploadId,
        begunMs: Initiated?.getTime() ?? 0,
      }));
      const { IsTruncated, NextKeyMarker = '', NextUploadIdMarker = '' } = page;
      from = IsTruncated
        ? { KeyMarker: NextKeyMarker, UploadIdMarker: NextUploadIdMarker }
        : undefined;
    }
  }

  close(): void {
    this.#client.s3.destroy();
  }

  #at(key: string): { readonly Bucket: string; readonly Key: string } {
    return { Bucket: this.#bucket, Key: this.#prefix + key };
  }

  #keyOf(full: string): string {
    return full.slice(this.#prefix.length);
  }
}

function toHeaders({ contentType, cacheControl, contentEncoding, metadata }: Attributes) {
  return {
    ContentType: contentType,
    CacheControl: cacheControl,
    ...(contentEncoding && { ContentEncoding: contentEncoding }),
    ...(metadata && { Metadata: { ...metadata } }),
  };
}

/** Content-MD5 is the only checksum that every store verifies (measured). */
function toBody(body: Uint8Array) {
  const ContentMD5 = createHash('md5').update(body).digest('base64');
  return { Body: body, ContentLength: body.length, ContentMD5 };
}

function factsOf(answer: {
  readonly ETag?: string | undefined;
  readonly ContentLength?: number | undefined;
  readonly LastModified?: Date | undefined;
  readonly Metadata?: Record<string, string> | undefined;
  readonly ContentType?: string | undefined;
}): ObjectFacts {
  return {
    etag: answer.ETag ?? '',
    size: answer.ContentLength ?? 0,
    modifiedMs: answer.LastModified?.getTime() ?? 0,
    storeMs: storeMsOf(answer),
    metadata: answer.Metadata ?? {},
    contentType: answer.ContentType,
  };
}

function storeMsOf(answer: object): number | undefined {
  return (answer as { readonly storeMs?: number }).storeMs;
}
