/** Retries a request to a store when its outcome is unknown, after a pause. */
import { setTimeout as sleep } from 'node:timers/promises';
import pRetry from 'p-retry';
import { isOutcomeUnknown } from './object-store.js';

const RETRIES = 3;
const FIRST_MS = 50;
const MOST_MS = 2000;

/** For requests that may be done twice. A longer failure is left to the caller, which tries again later. */
export function withRetry<T>(work: () => Promise<T>): Promise<T> {
  return pRetry(work, {
    retries: RETRIES,
    // Randomized, it is between this and twice as long: the pauses of `pause`.
    minTimeout: FIRST_MS / 2,
    randomize: true,
    shouldRetry: ({ error }) => isOutcomeUnknown(error),
  });
}

/**
 * For loops that read the store again before each attempt. The pause gets longer, and differs from
 * that of other publishers that wait for the same.
 */
export function pause(attempt: number): Promise<void> {
  const most = Math.min(FIRST_MS * 2 ** (attempt - 1), MOST_MS);
  return sleep(most * (0.5 + Math.random() / 2));
}
