/** Returns the error of a rejected step, so that a test can check its code and details. */
import { DropdockError } from '#src/errors.js';

/** @throws when nothing was refused, or something else went wrong */
export function refusal(run: () => unknown): DropdockError {
  try {
    run();
  } catch (error) {
    if (error instanceof DropdockError) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}

export async function refusalOf(promise: Promise<unknown>): Promise<DropdockError> {
  let result: unknown;
  try {
    result = await promise;
  } catch (error) {
    result = error;
  }
  return refusal(() => {
    if (result instanceof Error) throw result;
  });
}
