/**
 * Jobs: functions for disk work. The event loop sends one request; a worker thread runs the job and returns
 * the result.
 */
import type { Disk } from './disk.js';

/**
 * Jobs of one pool do not wait for jobs of another.
 *
 * - `fast`: short; a drop or a request waits for it. A flip must not queue behind hashing 50 GB.
 * - `hash`: reads, hashes and decompresses content.
 * - `background`: long; no publish waits for it.
 */
export type PoolName = 'fast' | 'hash' | 'background';

/** A function of the disk and one request. Request and result can be sent between threads. */
export interface Job<Request, Result> {
  (disk: Disk, request: Request): Result;
  readonly pool: PoolName;
  /** URL of the module that exports the job. A thread loads only the modules of its jobs. */
  readonly module: string;
  /** Name of the export. */
  readonly jobName: string;
}

/**
 * Makes a job of a function, which can still be called directly.
 * @param module `import.meta.url`
 * @param work must have the name of its export, by which a thread finds it
 */
export function job<Request, Result>(
  pool: PoolName,
  module: string,
  work: (disk: Disk, request: Request) => Result,
): Job<Request, Result> {
  if (work.name === '') throw new Error(`a job of ${module} has no name`);
  return Object.assign(work, { pool, module, jobName: work.name });
}

/** Runs a job on a worker thread and returns its result. */
export type RunJob = <Request, Result>(
  job: Job<Request, Result>,
  request: NoInfer<Request>,
) => Promise<Awaited<Result>>;

/** Like Promise.all, but settles only when all have ended, so that none is still writing. */
export async function allOrFirstError<T>(promises: readonly Promise<T>[]): Promise<T[]> {
  const results = await Promise.allSettled(promises);
  const failed = results.find((result) => result.status === 'rejected');
  if (failed) throw failed.reason;
  return results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
}
