/** The code of a worker thread: runs a job with the real disk and returns its result. */
import { crash } from '../crash.js';
import { type PlainError, toPlainError } from '../errors.js';
import { nodeDisk } from '../storage/disk.js';
import type { Job } from '../storage/job.js';

export interface JobMessage {
  /** URL of the module that exports the job. */
  readonly module: string;
  /** Name of that export. */
  readonly name: string;
  readonly request: unknown;
}

export type JobAnswer =
  | { readonly ok: true; readonly result: unknown }
  | { readonly ok: false; readonly error: PlainError };

export async function runJob({ module, name, request }: JobMessage): Promise<JobAnswer> {
  const work = (await loadOrDie(module))[name];
  try {
    if (work === undefined) throw new Error(`${module} exports no ${name}.`);
    return { ok: true, result: await work(nodeDisk, request) };
  } catch (error) {
    return { ok: false, error: toPlainError(error) };
  }
}

/** See `reviveQueue` in worker-pool.ts. */
export function doNothing(): void {}

/**
 * Node caches a module that failed to load (for example, without free descriptors) as long as the thread
 * lives. So this thread ends; its job is retried, and another thread loads the module.
 */
async function loadOrDie(module: string): Promise<JobModule> {
  try {
    return (await import(module)) as JobModule;
  } catch (error) {
    crash(error);
    return new Promise<never>(() => {});
  }
}

type JobModule = Readonly<Record<string, Job<unknown, unknown> | undefined>>;
