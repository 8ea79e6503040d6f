/** Trying again what nobody knows the outcome of, and waiting before it. */
import { setTimeout as sleep } from 'node:timers/promises';
import { isOutcomeUnknown } from './store.js';

const TRIES = 4;
const FIRST_MS = 50;
const MOST_MS = 2000;

/** For what may be done twice. A longer trouble is the caller's, who comes again later. */
export async function patiently<T>(work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (!isOutcomeUnknown(error) || attempt === TRIES) throw error;
      await pause(attempt);
    }
  }
}

/** Longer each time, and never as long as somebody else who waits for the same. */
export function pause(attempt: number): Promise<void> {
  const most = Math.min(FIRST_MS * 2 ** (attempt - 1), MOST_MS);
  return sleep(most * (0.5 + Math.random() / 2));
}
