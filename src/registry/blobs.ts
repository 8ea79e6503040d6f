/** end-2: serves blobs directly, by redirect, or through the nginx in front of this server. */
import type { Digest } from '../image/digest.js';
import type { RepositoryName } from '../image/names.js';
import { type Answer, answerFile, cacheControl, isFresh, notModified } from './answer.js';
import type { Asked } from './manifests.js';
import type { Refusal } from './refusal.js';
import type { ServedBlob, ServedSnapshot } from './source.js';

export type BlobsBy =
  | { readonly how: 'stream' }
  /**
   * A template with {id}, {repository}, {snapshot}, {digest} and, if the blobs are in an object store,
   * {signed}: path and query of a signed URL. Undefined redirects to the complete signed URL.
   */
  | { readonly how: 'redirect'; readonly url: string | undefined }
  /** The name of nginx's internal location, which is an alias of master/. */
  | { readonly how: 'x-accel'; readonly prefix: string };

/** Blobs have no media type of their own; the manifest that references them has it. */
const BLOB_TYPE = 'application/octet-stream';

export async function answerBlob(
  snapshot: ServedSnapshot,
  { repository, digest }: { readonly repository: RepositoryName; readonly digest: Digest },
  by: BlobsBy,
  { headers, isPrivate, isHead }: Asked & { readonly isHead: boolean },
): Promise<Answer | Refusal> {
  const blob = await snapshot.blob(digest);
  if (blob === undefined) return { status: 404, code: 'BLOB_UNKNOWN' };
  const named = { 'Docker-Content-Digest': digest };
  const caching = { immutable: true, isPrivate };
  const found = { type: BLOB_TYPE, digest, caching, headers: named };
  // HEAD only checks that the blob exists; a redirect would cost it another request.
  if (by.how === 'stream' || isHead) return answerFile({ headers, isHead }, found, blob);
  const { id, name } = snapshot.of;
  if (by.how === 'x-accel') {
    await blob.close();
    const etag = `"${digest}"`;
    const kept = { ...named, ETag: etag, 'Cache-Control': cacheControl(caching) };
    if (isFresh(headers, etag)) return notModified(kept);
    const prefix = by.prefix.replace(/\/*$/, '');
    const place = `${prefix}/${snapshot.path}/blobs/${digest}`;
    const sent = { ...kept, 'Content-Type': BLOB_TYPE, 'X-Accel-Redirect': place };
    return { status: 200, headers: sent, body: undefined };
  }
  const values = { id, repository, snapshot: name, digest };
  const location = await locationOf(by.url, values, blob, isPrivate);
  if (location === undefined) return answerFile({ headers, isHead }, found, blob);
  await blob.close();
  // The blob never changes, but its location may: the redirect must not be cached.
  return {
    status: 307,
    headers: {
      ...named,
      'Content-Type': BLOB_TYPE,
      Location: location,
      'Cache-Control': 'no-store',
      'Content-Length': 0,
    },
    body: undefined,
  };
}

const SIGNED = '{signed}';

/**
 * Another server does not check passwords. For protected blobs, only a signed URL that expires is used.
 * @returns the URL to redirect to, or undefined if this server sends the blob itself
 */
async function locationOf(
  template: string | undefined,
  values: Readonly<Record<string, string>>,
  blob: ServedBlob,
  isPrivate: boolean,
): Promise<string | undefined> {
  const isOpen = template !== undefined && !template.includes(SIGNED);
  const signed = isOpen && !isPrivate ? undefined : await blob.signedUrl?.();
  if (template === undefined || (isOpen && isPrivate)) return signed;
  if (!isOpen && signed === undefined) return undefined;
  const { pathname = '', search = '' } = signed === undefined ? {} : new URL(signed);
  const all: Readonly<Record<string, string>> = { ...values, signed: pathname + search };
  return template.replace(/\{(\w+)\}/g, (text, key) => all[key] ?? text);
}
