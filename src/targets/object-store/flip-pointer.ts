/**
 * Flips the current snapshot of a store: replaces the pointer if it did not change since it was read. If the
 * response is lost, the pointer is read again.
 */
import { DropdockError } from '../../errors.js';
import type { RepositoryId } from '../../image/names.js';
import { FRESH, pointerKey } from './object-keys.js';
import { type Condition, isOutcomeUnknown, type PutResult } from './object-store.js';
import { type Pointer, serialisePointer } from './pointer.js';
import { readPointer } from './read-current.js';
import { pause } from './retry-request.js';
import type { StoreContext } from './store-context.js';

const ATTRIBUTES = { contentType: 'application/json', cacheControl: FRESH };
const TRIES = 5;

/** 'moved': another publisher was faster, and this flip did not happen. */
export type Flipped =
  /** Undefined if others have flipped since. */
  { readonly etag: string | undefined } | 'moved';

/**
 * @param expected the ETag of the pointer that was read; undefined if there was none
 * @throws target.failed: the outcome is unknown, even after retries. When its drop is retried, the pointer's
 * history shows whether it was published.
 */
export async function flip(
  context: StoreContext,
  next: Pointer,
  expected: string | undefined,
): Promise<Flipped> {
  for (let attempt = 1; ; attempt++) {
    const answer = await send(context, next, expected);
    if (answer.status === 'done') return { etag: answer.etag };
    const found = await readPointer(context.store, next.id);
    if (found !== undefined && found !== 'same') {
      const { pointer, etag } = found;
      if (pointer.snapshot === next.snapshot) return { etag };
      // The flip succeeded, and others have flipped since.
      if (pointer.history.some(({ snapshot }) => snapshot === next.snapshot)) {
        return { etag: undefined };
      }
    }
    const now = found === undefined || found === 'same' ? undefined : found.etag;
    if (bare(now) !== bare(expected)) return 'moved';
    if (
      answer.status === 'lost' &&
      answer.code === 412 &&
      expected !== undefined &&
      !context.memory.stripsQuotes
    ) {
      // Rejected although nothing has changed: the store wants its own ETag without quotes.
      context.memory.stripsQuotes = true;
      continue;
    }
    if (attempt === TRIES) throw 'error' in answer ? answer.error : refused(context, next.id);
    await pause(attempt);
  }
}

async function send(
  { store, memory, isSingleWriter }: StoreContext,
  next: Pointer,
  expected: string | undefined,
): Promise<PutResult | { readonly status: 'unknown'; readonly error: unknown }> {
  const etag = memory.stripsQuotes ? bare(expected) : expected;
  const condition: Condition = etag === undefined ? { absent: true } : { etag };
  const body = serialisePointer(next);
  try {
    const key = pointerKey(next.id);
    return await store.put(key, body, ATTRIBUTES, isSingleWriter ? undefined : condition);
  } catch (error) {
    if (!isOutcomeUnknown(error)) throw error;
    return { status: 'unknown', error };
  }
}

function bare(etag: string | undefined): string | undefined {
  return etag?.replaceAll('"', '');
}

function refused({ store }: StoreContext, id: RepositoryId): DropdockError {
  const key = pointerKey(id);
  return new DropdockError(
    'target.failed',
    `The target ${store.target} refuses to replace ${key}, although it is unchanged.`,
    { path: key, target: store.target, outcome: 'refused' },
  );
}
