/** What runs on a worker thread: takes a job, does it with the real disk, answers. */
import { parentPort } from 'node:worker_threads';
import { crash } from '../crash.js';
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

/** Who waits for the first of several jobs waits no longer than this for the others. */
const ANSWER_WITHIN_MS = 5;

/** Not told yet. */
let answers: JobAnswer[] = [];

/** Jobs come as they were waiting, several at once; the answers come in their order. */
parentPort?.on('message', (jobs: readonly JobMessage[]) => {
  answerAll(jobs).catch(crash);
});

async function answerAll(jobs: readonly JobMessage[]): Promise<void> {
  let beganMs = performance.now();
  for (const job of jobs) {
    // Not in one: what is pushed to would be what there was before the job told something itself.
    const done = await answer(job);
    answers.push(done);
    if (performance.now() - beganMs < ANSWER_WITHIN_MS) continue;
    tell();
    beganMs = performance.now();
  }
  tell();
}

const leave: LeaveSync = (request) => {
  // It is the first job without an answer that leaves it.
  tell();
  parentPort?.postMessage({ left: { job: 'syncFile', request } } satisfies LeftMessage);
};

async function answer({ job, request }: JobMessage): Promise<JobAnswer> {
  // What cannot be loaded (no descriptor is left) is remembered as broken for as long as the thread
  // lives: it ends this one, the work is tried again, and another thread loads it.
  const work = await loadJob(job);
  try {
    return { ok: true, result: await work(nodeDisk, request as never, leave) };
  } catch (error) {
    return { ok: false, error: toPlainError(error) };
  }
}

/** An answer that cannot cross threads ends this one: that is a bug, and is seen as one. */
function tell(): void {
  if (answers.length > 0) parentPort?.postMessage(answers);
  answers = [];
}
