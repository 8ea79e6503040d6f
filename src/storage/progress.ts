/** Progress of work on other threads: a shared counter. */

/** Shared between threads; its one element counts bytes. */
export type Progress = BigInt64Array;

export function newProgress(): Progress {
  return new BigInt64Array(new SharedArrayBuffer(8));
}

export function addProgress(progress: Progress | undefined, bytes: number): void {
  if (progress) Atomics.add(progress, 0, BigInt(bytes));
}

export function readProgress(progress: Progress): number {
  return Number(Atomics.load(progress, 0));
}

/** For work that starts again. */
export function resetProgress(progress: Progress): void {
  Atomics.store(progress, 0, 0n);
}
