/** What runs on a worker thread: takes a job, does it with the real disk, answers. */
import { parentPort } from 'node:worker_threads';
import { nodeDisk } from '../disk/disk.js';
import type { LeaveSync } from '../disk/left-sync.js';
import { type PlainError, toPlainError } from '../errors.js';
import type { Jobs } from './jobs.js';
import { loadJob } from './load.js';

export interface JobMessage {
  readonly job: keyof Jobs;
  readonly request: unknown;
}

/** Comes before the answer, any number of times: what the job leaves to other threads. */
export interface LeftMessage {
  readonly left: JobMessage;
}

export type JobAnswer =
  | { readonly ok: true; readonly result: unknown }
  | { readonly ok: false; readonly error: PlainError };

const leave: LeaveSync = (request) => {
  parentPort?.postMessage({ left: { job: 'syncFile', request } } satisfies LeftMessage);
};

parentPort?.on('message', async ({ job, request }: JobMessage) => {
  // What cannot be loaded (no descriptor is left) is remembered as broken for as long as the thread
  // lives: it ends this one, the work is tried again, and another thread loads it.
  const work = await loadJob(job);
  let answer: JobAnswer;
  try {
    answer = { ok: true, result: await work(nodeDisk, request as never, leave) };
  } catch (error) {
    answer = { ok: false, error: toPlainError(error) };
  }
  // An answer that cannot cross threads ends this one: that is a bug, and is seen as one.
  parentPort?.postMessage(answer);
});
