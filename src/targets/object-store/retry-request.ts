/** Retries a request to a store when its outcome is unknown, after a pause. */
import { setTimeout as sleep } from 'node:timers/promises';
import pRetry from 'p-retry';
import { isOutcomeUnknown } from './object-store.js';

const RETRIES = 3;
const FIRST_MS = 50;
const MOST_MS = 2000;

/** For idempotent requests. A longer failure is left to the caller, which retries later. */
export function withRetry<T>(work: () => Promise<T>): Promise<T> {
  return pRetry(work, {
    retries: RETRIES,
    // p-retry randomizes it between this and twice the value, like `pause`.
    minTimeout: FIRST_MS / 2,
    randomize: true,
    shouldRetry: ({ error }) => isOutcomeUnknown(error),
  });
}

/**
 * For loops that read the store again before each attempt. The pause grows, and is random, so that publishers
 * that wait for the same do not collide.
 */
export function pause(attempt: number): Promise<void> {
  const most = Math.min(FIRST_MS * 2 ** (attempt - 1), MOST_MS);
  return sleep(most * (0.5 + Math.random() / 2));
}
