/**
 * Jobs: functions that do disk work, asked for by the event loop with one value, and answered later by a
 * worker thread.
 */
import type { Disk } from './disk.js';

/**
 * Jobs of one pool do not wait for those of another.
 *
 * - `fast`: short, and a drop or a request waits for it. A flip must not queue behind 50 GB to hash.
 * - `hash`: reads, hashes and unpacks content.
 * - `background`: takes long, and a publish does not wait for it.
 */
export type PoolName = 'fast' | 'hash' | 'background';

/** Takes the disk and one request that can cross threads, and gives an answer that can. */
export interface Job<Request, Result> {
  (disk: Disk, request: Request): Result;
  readonly pool: PoolName;
  /** The URL of the module that exports it: a thread loads no others than those of its jobs. */
  readonly module: string;
  /** The name of that export. */
  readonly jobName: string;
}

/**
 * Makes a job of a function; it can still be called like any other.
 * @param module `import.meta.url`
 * @param work has the name of the export that it becomes: a thread finds it by that
 */
export function job<Request, Result>(
  pool: PoolName,
  module: string,
  work: (disk: Disk, request: Request) => Result,
): Job<Request, Result> {
  if (work.name === '') throw new Error(`A job of ${module} has no name.`);
  return Object.assign(work, { pool, module, jobName: work.name });
}

/** Has a job done, and answers with its result. */
export type RunJob = <Request, Result>(
  job: Job<Request, Result>,
  request: NoInfer<Request>,
) => Promise<Awaited<Result>>;

/** Like Promise.all, but answers only when all have ended: nobody may still be writing then. */
export async function allOrFirstError<T>(promises: readonly Promise<T>[]): Promise<T[]> {
  const results = await Promise.allSettled(promises);
  const failed = results.find((result) => result.status === 'rejected');
  if (failed) throw failed.reason;
  return results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
}
