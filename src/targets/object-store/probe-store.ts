/**
 * Does this store keep the conditions of writes? Everything rests on it where several publish, and
 * some stores accept the headers and ignore them: old ones, versioned buckets of Ceph's gateway.
 */
import { DropdockError } from '../../errors.js';
import { FRESH, PROBES } from './object-keys.js';
import type { Condition, PutResult } from './object-store.js';
import { withRetry } from './retry-request.js';
import type { StoreContext } from './store-context.js';

const ATTRIBUTES = { contentType: 'text/plain', cacheControl: FRESH };
/** No object of ours has this ETag: it is the MD5 of nothing, and we put something. */
const STALE = '"d41d8cd98f00b204e9800998ecf8427e"';

/**
 * Learns on the way how the store wants its ETags.
 * @param nonce tells this probe from every other
 * @throws target.unfit, target.failed
 */
export async function probeStore(context: StoreContext, nonce: string): Promise<void> {
  const { store, memory, isSingleWriter } = context;
  if (isSingleWriter) return;
  const key = `${PROBES}${nonce}`;
  const missing = `${PROBES}${nonce}-missing`;
  const put = (at: string, condition?: Condition): Promise<PutResult> =>
    withRetry(() => store.put(at, Buffer.from(nonce), ATTRIBUTES, condition));
  const unfit = (what: string) =>
    new DropdockError('target.unfit', `The target ${store.target} ${what}.`, {
      target: store.target,
    });
  try {
    const first = await put(key);
    if ((await put(key, { absent: true })).status === 'done') {
      throw unfit('writes over an object that must be absent (If-None-Match is ignored)');
    }
    if ((await put(key, { etag: STALE })).status === 'done') {
      throw unfit('writes over an object that has changed (If-Match is ignored)');
    }
    if ((await put(missing, { etag: STALE })).status === 'done') {
      throw unfit('makes an object that was to be replaced (If-Match on a missing key)');
    }
    const etag = first.status === 'done' ? first.etag : '';
    if ((await put(key, { etag })).status === 'done') return;
    if ((await put(key, { etag: etag.replaceAll('"', '') })).status === 'lost') {
      throw unfit('never replaces an object on condition, not even an unchanged one');
    }
    memory.stripsQuotes = true;
  } finally {
    await withRetry(() => store.remove([key, missing])).catch(() => {
      // A few bytes that nobody reads.
    });
  }
}

/** Uploads in parts whose publisher died: nobody is at it for so long. @returns how many went */
export async function abortOldUploads({ store, longestMs }: StoreContext): Promise<number> {
  let storeMs: number | undefined;
  for await (const page of store.list(PROBES)) {
    storeMs = page.storeMs;
    break;
  }
  if (storeMs === undefined) return 0;
  let aborted = 0;
  for await (const page of store.listUploads()) {
    for (const upload of page.filter(({ begunMs }) => storeMs - begunMs > longestMs)) {
      await withRetry(() => store.abortUpload(upload));
      aborted++;
    }
  }
  return aborted;
}
