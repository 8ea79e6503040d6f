/**
 * Coordinates cleanings and publishers of a store without a lock.
 *
 * A cleaning deletes objects that no pointer and no kept snapshot refers to and that are older than the grace
 * period and three times `longest`. A publisher that relies on an existing object does this:
 * - a young object (less than `longest` old) cannot be deleted before the publisher flips, because a publish
 *   and a cleaning take at most `longest` each;
 * - an older object is touched first, then the publisher checks if `clean/deleting.json` lists it. The
 *   cleaning first writes that list, and checks the age of each object just before it deletes it. So either
 *   the cleaning sees the new age, or the publisher sees the list, waits until it is deleted, and checks
 *   again. (Stores have read-after-write consistency.)
 */

import { DELETING_KEY, FRESH } from './object-keys.js';
import type { Condition, ObjectFacts } from './object-store.js';
import { pause, withRetry } from './retry-request.js';
import type { StoreContext } from './store-context.js';

/** Maximum age of a list: its cleaning deletes nothing after half of it. */
export const LIST_MS_MAX = 120_000;

export interface AgeRules {
  readonly graceMs: number;
  readonly longestMs: number;
}

export function sweepAgeMs({ graceMs, longestMs }: AgeRules): number {
  return graceMs + 3 * longestMs;
}

/**
 * Returns true if a publisher may rely on the object as it is. Without a time from the store nothing is
 * young.
 */
export function isYoung(
  facts: { readonly modifiedMs: number; readonly storeMs: number | undefined },
  longestMs: number,
): boolean {
  return facts.storeMs !== undefined && facts.storeMs - facts.modifiedMs < longestMs;
}

/**
 * Waits until no key of `keys` is being deleted.
 * @returns true if it had to wait; then check the objects again
 */
export async function waitForDeletion(
  { store, monotonicMs }: StoreContext,
  keys: ReadonlySet<string>,
): Promise<boolean> {
  const startedMs = monotonicMs();
  let first: string | undefined;
  for (let attempt = 1; ; attempt++) {
    const found = await withRetry(() => store.get(DELETING_KEY));
    if (found === undefined || found === 'same') return first !== undefined;
    const listed = JSON.parse(found.body.toString('utf8')) as readonly string[];
    if (!listed.some((key) => keys.has(key))) return first !== undefined;
    first ??= found.etag;
    // A new list: the deletions of the first one have ended, but the new one contains our keys too.
    if (found.etag !== first) return true;
    if (monotonicMs() - startedMs > LIST_MS_MAX) return true;
    await pause(attempt);
  }
}

/**
 * Writes the list of one cleaning at a time. Replaces the list of a process that died.
 * @param nonce unique for this list
 * @returns a function that deletes the list; undefined if another cleaning is running
 */
export async function announceDeletion(
  context: StoreContext,
  nonce: string,
  keys: readonly string[],
): Promise<(() => Promise<void>) | undefined> {
  const { store, isSingleWriter, memory } = context;
  const left = await withRetry(() => store.head(DELETING_KEY));
  if (left !== undefined && !isDead(left)) return undefined;
  const etag = memory.stripsQuotes ? left?.etag.replaceAll('"', '') : left?.etag;
  const condition: Condition = etag === undefined ? { absent: true } : { etag };
  const body = Buffer.from(JSON.stringify([nonce, ...keys]));
  const attributes = { contentType: 'application/json', cacheControl: FRESH, metadata: { nonce } };
  const put = await store.put(
    DELETING_KEY,
    body,
    attributes,
    isSingleWriter ? undefined : condition,
  );
  if (put.status === 'lost') return undefined;
  return async () => {
    const now = await withRetry(() => store.head(DELETING_KEY));
    if (now?.metadata.nonce === nonce) await withRetry(() => store.remove([DELETING_KEY]));
  };
}

/** Returns true if its writer exceeded its time limit, by the store's clock. */
function isDead({ storeMs, modifiedMs }: ObjectFacts): boolean {
  return storeMs !== undefined && storeMs - modifiedMs > 2 * LIST_MS_MAX;
}
