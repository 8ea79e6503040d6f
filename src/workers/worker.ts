/** What runs on a worker thread: takes a job, does it with the real disk, answers. */
import { crash } from '../crash.js';
import { type PlainError, toPlainError } from '../errors.js';
import { nodeDisk } from '../storage/disk.js';
import { type JobName, loadJob } from './job-table.js';

export interface JobMessage {
  readonly job: JobName;
  readonly request: unknown;
}

export type JobAnswer =
  | { readonly ok: true; readonly result: unknown }
  | { readonly ok: false; readonly error: PlainError };

export async function runJob({ job, request }: JobMessage): Promise<JobAnswer> {
  const work = await loadOrDie(job);
  try {
    return { ok: true, result: await work(nodeDisk, request as never) };
  } catch (error) {
    return { ok: false, error: toPlainError(error) };
  }
}

/** See `reviveQueue` in worker-pool.ts. */
export function doNothing(): void {}

/**
 * Node remembers a module that could not be loaded (no descriptor was left) as broken for as long as the
 * thread lives. So this thread ends: its job is tried again, and another thread loads the module.
 */
async function loadOrDie(job: JobName) {
  try {
    return await loadJob(job);
  } catch (error) {
    crash(error);
    return new Promise<never>(() => {});
  }
}
