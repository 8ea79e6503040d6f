/** What runs on a worker thread: takes a job, does it with the real disk, answers. */
import { parentPort } from 'node:worker_threads';
import { nodeDisk } from '../disk/disk.js';
import { ingest } from '../disk/verified-copy.js';
import { type PlainError, toPlainError } from '../errors.js';
import type { Jobs } from './jobs.js';
import { scan } from './scan.js';

export interface JobMessage {
  readonly job: keyof Jobs;
  readonly request: unknown;
}

export type JobAnswer =
  | { readonly ok: true; readonly result: unknown }
  | { readonly ok: false; readonly error: PlainError };

/** Loading all that threads can do takes 180 ms of a processor; these are asked for more often. */
const LIGHT = { ingest, scan };

async function allJobs(): Promise<Jobs> {
  return (await import('./jobs.js')).jobs;
}

parentPort?.on('message', async ({ job, request }: JobMessage) => {
  let answer: JobAnswer;
  try {
    const work = job in LIGHT ? LIGHT[job as keyof typeof LIGHT] : (await allJobs())[job];
    answer = { ok: true, result: await work(nodeDisk, request as never) };
  } catch (error) {
    answer = { ok: false, error: toPlainError(error) };
  }
  // An answer that cannot cross threads ends this one: that is a bug, and is seen as one.
  parentPort?.postMessage(answer);
});
