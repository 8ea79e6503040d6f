import { expect } from 'chai';
import { JOBS, type JobName, loadJob } from '#src/workers/job-table.js';

describe('the table of jobs', () => {
  it('finds a function for every job', async () => {
    for (const name of Object.keys(JOBS) as JobName[]) {
      expect(await loadJob(name), name).to.be.a('function');
    }
  });
});
