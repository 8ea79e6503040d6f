/** Which of the threads that have nothing to do gets a task. */

export interface Rememberer {
  /** What it built last, and so need not read again (publish/recall.ts). */
  readonly remembers: string | undefined;
}

/**
 * The one that remembers what the task is about; otherwise, for a task that will be remembered, one
 * that has nothing to forget. The last that became free comes first: those that are not needed end.
 */
export function pickIdle<T extends Rememberer>(
  idle: readonly T[],
  about: string | undefined,
): T | undefined {
  if (about === undefined) return idle.at(-1);
  return (
    idle.find(({ remembers }) => remembers === about) ??
    idle.findLast(({ remembers }) => remembers === undefined) ??
    idle.at(-1)
  );
}
