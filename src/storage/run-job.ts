/** How the event loop asks for disk work: by name, with one value, answered later by a thread. */
import type { Disk } from './disk.js';

/** Functions that do disk work: the disk, one request that can cross threads, one answer. */
export type JobTable = Readonly<
  // biome-ignore lint/suspicious/noExplicitAny: each job has a request type of its own
  Record<string, (disk: Disk, request: any) => unknown>
>;

/** Runs one job of a table and answers with its result. */
export type RunJob<Jobs extends JobTable> = <Name extends keyof Jobs & string>(
  name: Name,
  request: Parameters<Jobs[Name]>[1],
) => Promise<Awaited<ReturnType<Jobs[Name]>>>;

/** Like Promise.all, but answers only when all have ended: nobody may still be writing then. */
export async function allOrFirstError<T>(promises: readonly Promise<T>[]): Promise<T[]> {
  const results = await Promise.allSettled(promises);
  const failed = results.find((result) => result.status === 'rejected');
  if (failed) throw failed.reason;
  return results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
}
