/** end-2: blobs, by ourselves, by a redirect, or by the nginx in front of us. */
import type { Digest } from '../image/digest.js';
import type { RepositoryName } from '../image/names.js';
import { type Answer, answerFile, cacheControl, isFresh, notModified } from './answer.js';
import type { Asked } from './manifests.js';
import type { Refusal } from './refusal.js';
import type { ServedSnapshot } from './source.js';

export type BlobsBy =
  | { readonly how: 'stream' }
  /** A template with {id}, {repository}, {snapshot} and {digest}. */
  | { readonly how: 'redirect'; readonly url: string }
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
  // A client that only asks whether it is there is spared the way. Where somebody else serves
  // blobs he does not ask for passwords, so what is protected goes through us.
  if (by.how === 'stream' || isHead || (by.how === 'redirect' && isPrivate)) {
    const found = { type: BLOB_TYPE, digest, caching, headers: named };
    return answerFile({ headers, isHead }, found, blob);
  }
  await blob.close();
  const common = { ...named, 'Content-Type': BLOB_TYPE };
  if (by.how === 'x-accel') {
    const etag = `"${digest}"`;
    const kept = { ...named, ETag: etag, 'Cache-Control': cacheControl(caching) };
    if (isFresh(headers, etag)) return notModified(kept);
    const prefix = by.prefix.replace(/\/*$/, '');
    const place = `${prefix}/${snapshot.path}/blobs/${digest}`;
    const sent = { ...kept, 'Content-Type': BLOB_TYPE, 'X-Accel-Redirect': place };
    return { status: 200, headers: sent, body: undefined };
  }
  const { id, name } = snapshot.of;
  const values: Record<string, string> = { id, repository, snapshot: name, digest };
  const location = by.url.replace(/\{(\w+)\}/g, (text, key) => values[key] ?? text);
  // The place may differ tomorrow, though the blob does not: the redirect itself is not kept.
  return {
    status: 307,
    headers: { ...common, Location: location, 'Cache-Control': 'no-store', 'Content-Length': 0 },
    body: undefined,
  };
}
