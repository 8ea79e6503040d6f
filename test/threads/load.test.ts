import { expect } from 'chai';
import { jobs } from '#src/threads/jobs.js';
import { LIGHT_JOBS, loadJob } from '#src/threads/load.js';

describe('loadJob', () => {
  it('finds every job, and the same where it loads little for it', async () => {
    expect(LIGHT_JOBS).to.include('scan').and.include('ingest');
    for (const name of Object.keys(jobs) as (keyof typeof jobs)[]) {
      expect(await loadJob(name), name).to.equal(jobs[name]);
    }
  });
});
