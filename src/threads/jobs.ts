/** Every job a worker thread can do, by name. Loads everything: load.ts does not. */
import { accessJobs } from '../access/jobs.js';
import { inboxJobs } from '../inbox/jobs.js';
import { notifyJobs } from '../notify/spool.js';
import { objectJobs } from '../objects/jobs.js';
import { publishJobs } from '../publish/jobs.js';
import { settleFlip } from './flip-notice.js';
import { findLeftovers } from './leftovers.js';
import { readAndBuild } from './read-and-build.js';
import { scan } from './scan.js';
import { stage, stageTogether } from './stage.js';
import { takeTogether } from './take-together.js';

export const jobs = {
  ...accessJobs,
  ...inboxJobs,
  ...publishJobs,
  ...notifyJobs,
  ...objectJobs,
  scan,
  findLeftovers,
  takeTogether,
  stage,
  stageTogether,
  readAndBuild,
  settleFlip,
} as const;

export type Jobs = typeof jobs;
