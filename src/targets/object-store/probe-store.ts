/**
 * Checks that a store supports conditional writes. Concurrent publishers depend on them, and some stores
 * ignore the headers: old versions, and versioned buckets of Ceph's gateway.
 */
import { DropdockError } from '../../errors.js';
import { FRESH, PROBES } from './object-keys.js';
import type { Condition, PutResult } from './object-store.js';
import { withRetry } from './retry-request.js';
import type { StoreContext } from './store-context.js';

const ATTRIBUTES = { contentType: 'text/plain', cacheControl: FRESH };
/** None of our objects has this ETag: it is the MD5 of an empty object, and ours are not empty. */
const STALE = '"d41d8cd98f00b204e9800998ecf8427e"';

/**
 * Also detects which form of ETags the store accepts.
 * @param nonce unique for this probe
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
      throw unfit('replaces an existing object (it ignores If-None-Match)');
    }
    if ((await put(key, { etag: STALE })).status === 'done') {
      throw unfit('replaces a changed object (it ignores If-Match)');
    }
    if ((await put(missing, { etag: STALE })).status === 'done') {
      throw unfit('creates an object instead of replacing it (If-Match on a missing key)');
    }
    const etag = first.status === 'done' ? first.etag : '';
    if ((await put(key, { etag })).status === 'done') return;
    if ((await put(key, { etag: etag.replaceAll('"', '') })).status === 'lost') {
      throw unfit('refuses If-Match even for an unchanged object');
    }
    memory.stripsQuotes = true;
  } finally {
    await withRetry(() => store.remove([key, missing])).catch(() => {
      // Ignored: the leftover object is small and unused.
    });
  }
}

/**
 * Aborts multipart uploads of publishers that died: no publish takes that long.
 * @returns how many it aborted
 */
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
