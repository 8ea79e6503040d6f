/** Every job, loaded: for tests that do without threads. */
import { JOBS, type JobName, type Jobs, loadJob } from '#src/workers/job-table.js';

const names = Object.keys(JOBS) as JobName[];
const loaded = await Promise.all(names.map(async (name) => [name, await loadJob(name)] as const));

export const jobs = Object.fromEntries(loaded) as unknown as Jobs;
