/**
 * Goal: jobs that wait cross to the threads together, and each is answered for itself: with its own
 * result, or its own error, whatever becomes of those it crossed with.
 */
import { mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import type { RepositoryId } from '#src/image/names.js';
import { toTimestamp } from '#src/snapshot/timestamp.js';
import { ThreadPool } from '#src/threads/pool.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';

describe('ThreadPool, with many jobs', () => {
  let pool: ThreadPool;
  beforeEach(() => {
    pool = new ThreadPool({ hashThreads: 1 });
  });
  afterEach(async () => {
    await pool.close();
    removeTempDirs();
  });

  it('answers each of many with what is its own', async () => {
    const published = tempDir();
    const roots = { published, state: join(published, 'state') };
    mkdirSync(join(published, 'web'));
    const all = Array.from({ length: 100 }, (_none, at) => {
      const id = `app${at}` as RepositoryId;
      const snapshot = toTimestamp(at * 1000);
      const path = join(published, 'web', id);
      const isWrong = at % 7 === 3;
      if (isWrong) mkdirSync(path);
      else symlinkSync(`../master/${id}/${snapshot}`, path);
      return { id, expected: isWrong ? 'layout.unsafe' : snapshot };
    });
    const answers = await Promise.all(
      all.map(({ id }) =>
        pool.run('readPivot', { roots, id }).catch((error: { code: string }) => error.code),
      ),
    );
    expect(answers).to.deep.equal(all.map(({ expected }) => expected));
  });

  it('fails those under way, and those that wait, when it is closed', async () => {
    const inbox = tempDir();
    const running = Array.from({ length: 60 }, () => pool.run('listClaims', { inbox }));
    const closed = pool.close();
    const results = await Promise.allSettled(running);
    await closed;
    expect(results.map(({ status }) => status)).to.include('rejected');
    for (const result of results) {
      if (result.status === 'rejected') expect(result.reason.code).to.equal('thread.failed');
    }
    await expectRefused(pool.run('listClaims', { inbox }));
  });
});

async function expectRefused(work: Promise<unknown>): Promise<void> {
  const error = await work.then(
    () => undefined,
    (reason: { code?: string }) => reason,
  );
  expect(error?.code).to.equal('thread.failed');
}
