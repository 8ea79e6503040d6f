/** end-2: blobs, by ourselves, by a redirect, or by the nginx in front of us. */
import type { Digest } from '../image/digest.js';
import type { RepositoryName } from '../image/names.js';
import { type Answer, answerFile, cacheControl, isFresh, notModified } from './answer.js';
import type { Asked } from './manifests.js';
import type { Refusal } from './refusal.js';
import type { ServedBlob, ServedSnapshot } from './source.js';

export type BlobsBy =
  | { readonly how: 'stream' }
  /**
   * A template with {id}, {repository}, {snapshot}, {digest} and, where blobs are on an object store,
   * {signed}: path and query of a signed URL. Undefined for the whole signed URL.
   */
  | { readonly how: 'redirect'; readonly url: string | undefined }
  /** What nginx's internal location is called; it is an alias of master/. */
  | { readonly how: 'x-accel'; readonly prefix: string };

/** Blobs have no type of their own: it stands in the manifest that names them. */
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
  // A client that only asks whether it is there is spared the way.
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
  // The place may differ tomorrow, though the blob does not: the redirect itself is not kept.
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
 * Where somebody else serves blobs he does not ask for passwords: to what is protected leads only a
 * URL that is signed for a while.
 * @returns undefined for what we send ourselves
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
