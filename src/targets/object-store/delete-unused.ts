/**
 * How a cleaning and the publishers of a store keep out of each other's way, without a lock.
 *
 * A cleaning deletes what no pointer and no kept snapshot names and what is older than the grace
 * period and three times `longest`. A publisher that finds an object there already relies on it:
 * - a young one (under `longest` old) cannot be deleted before the publisher has flipped, for publish
 *   and cleaning take at most `longest` each;
 * - an older one it makes new first (`touch`), and then looks whether `clean/deleting.json` names it.
 *   The cleaning writes that list first, and then asks for the age of each object just before it
 *   deletes it. So either the cleaning sees the new age, or the publisher sees the list, waits until
 *   that is gone, and looks again. (Stores answer with what was written last.)
 */

import { DELETING_KEY, FRESH } from './object-keys.js';
import type { Condition, ObjectFacts } from './object-store.js';
import { pause, withRetry } from './retry-request.js';
import type { StoreContext } from './store-context.js';

/** No list holds longer than this: whoever wrote it deletes nothing after half of it. */
export const LIST_MS_MAX = 120_000;

export interface AgeRules {
  readonly graceMs: number;
  readonly longestMs: number;
}

export function sweepAgeMs({ graceMs, longestMs }: AgeRules): number {
  return graceMs + 3 * longestMs;
}

/** True when a publisher may rely on it as it is. A store that tells no time has nothing young. */
export function isYoung(
  facts: { readonly modifiedMs: number; readonly storeMs: number | undefined },
  longestMs: number,
): boolean {
  return facts.storeMs !== undefined && facts.storeMs - facts.modifiedMs < longestMs;
}

/** Waits until nothing of `keys` is being deleted. @returns true when it had to wait: look again */
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
    // Another list: the first one's deletions are over, but this one names our keys, too.
    if (found.etag !== first) return true;
    if (monotonicMs() - startedMs > LIST_MS_MAX) return true;
    await pause(attempt);
  }
}

/**
 * Writes the list, for one cleaning at a time. One whose writer died is replaced.
 * @param nonce tells this list from every other
 * @returns how to take it away; undefined when another cleaning is at it
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

/** Its writer has taken longer than it may. By the store's own clock. */
function isDead({ storeMs, modifiedMs }: ObjectFacts): boolean {
  return storeMs !== undefined && storeMs - modifiedMs > 2 * LIST_MS_MAX;
}
