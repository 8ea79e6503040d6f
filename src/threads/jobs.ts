/** Every job a worker thread can do, by name. */
import { accessJobs } from '../access/jobs.js';
import { inboxJobs } from '../inbox/jobs.js';
import { notifyJobs } from '../notify/spool.js';
import { publishJobs } from '../publish/jobs.js';
import { settleFlip } from './flip-notice.js';
import { scan } from './scan.js';
import { examine, stage } from './stage.js';

export const jobs = {
  ...accessJobs,
  ...inboxJobs,
  ...publishJobs,
  ...notifyJobs,
  scan,
  examine,
  stage,
  settleFlip,
} as const;

export type Jobs = typeof jobs;
