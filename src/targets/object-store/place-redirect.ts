/**
 * Writes `app/<id>.json`, the redirect file for Crane. It follows the pointer: it contains the generation of
 * its flip, and replaces only an older one. After a crash in between, the next publish or clean repairs it.
 */
import type { RepositoryId } from '../../image/names.js';
import { FRESH, redirectKey } from './object-keys.js';
import type { Condition } from './object-store.js';
import { withRetry } from './retry-request.js';
import type { StoreContext } from './store-context.js';

const TRIES = 10;

/** @returns false if there is a newer one */
export async function placeRedirect(
  { store, memory, isSingleWriter }: StoreContext,
  id: RepositoryId,
  generation: number,
  text: string,
): Promise<boolean> {
  const key = redirectKey(id);
  const attributes = {
    contentType: 'application/json',
    cacheControl: FRESH,
    metadata: { generation: String(generation) },
  };
  let known = memory.redirects.get(id)?.etag;
  for (let attempt = 1; attempt <= TRIES; attempt++) {
    if (attempt > 1 || known === undefined) {
      const there = await withRetry(() => store.head(key));
      const newest = Number(there?.metadata.generation ?? -1);
      if (newest >= generation) {
        memory.redirects.set(id, { etag: there?.etag ?? '', generation: newest });
        return newest === generation;
      }
      // Rejected although nothing has changed; see flip-pointer.ts.
      if (attempt > 1 && known !== undefined && there?.etag === known) memory.stripsQuotes = true;
      known = there?.etag;
    }
    const etag = memory.stripsQuotes ? known?.replaceAll('"', '') : known;
    const condition: Condition = etag === undefined ? { absent: true } : { etag };
    const put = await withRetry(() =>
      store.put(key, Buffer.from(text), attributes, isSingleWriter ? undefined : condition),
    );
    if (put.status === 'done') {
      memory.redirects.set(id, { etag: put.etag, generation });
      return true;
    }
  }
  return false;
}
