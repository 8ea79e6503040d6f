/**
 * Goal: each of many jobs returns its own result or its own error, and a job whose thread ends fails with
 * `thread.failed`, once it has stopped completely.
 */
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { expect } from 'chai';
import type { RepositoryId } from '#src/image/names.js';
import { listClaims } from '#src/inbox/claim.js';
import { toTimestamp } from '#src/repository/timestamp.js';
import { flipTo } from '#src/targets/directory/flip.js';
import { readLocalText } from '#src/targets/directory/pivot.js';
import { ThreadPool } from '#src/workers/thread-pool.js';
import { WorkerPool } from '#src/workers/worker-pool.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { waitFor } from '../support/wait-for.js';

const ODD_WORKER = new URL('./odd-worker.js', import.meta.url).href;

describe('ThreadPool, with many jobs', () => {
  let pool: ThreadPool;
  beforeEach(() => {
    pool = new ThreadPool({ hashThreads: 1 });
  });
  afterEach(async () => {
    await pool.close();
    removeTempDirs();
  });

  it('returns to each of many jobs its own result', async () => {
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
      const made = join(published, 'master', id, snapshot);
      mkdirSync(made, { recursive: true });
      writeFileSync(join(made, '.snapshot.json'), id);
      return { id, expected: isWrong ? 'layout.unsafe' : id };
    });
    const answers = await Promise.all(
      all.map(({ id }) =>
        pool.run(readLocalText, { roots, id }).then(
          (answer) => answer && Buffer.from(answer.text).toString(),
          (error: { code: string }) => error.code,
        ),
      ),
    );
    expect(answers).to.deep.equal(all.map(({ expected }) => expected));
  });

  it('fails running and waiting jobs when it is closed', async () => {
    const inbox = tempDir();
    const running = Array.from({ length: 60 }, () => pool.run(listClaims, { inbox }));
    const closed = pool.close();
    const results = await Promise.allSettled(running);
    await closed;
    expect(results.map(({ status }) => status)).to.include('rejected');
    for (const result of results) {
      if (result.status === 'rejected') expect(result.reason.code).to.equal('thread.failed');
    }
    await expectRefused(pool.run(listClaims, { inbox }));
  });
});

async function expectRefused(work: Promise<unknown>): Promise<void> {
  const error = await work.then(
    () => undefined,
    (reason: { code?: string }) => reason,
  );
  expect(error?.code).to.equal('thread.failed');
}

describe('WorkerPool', () => {
  let pool: WorkerPool;
  afterEach(async () => {
    await pool.close();
    removeTempDirs();
  });

  const code = (work: Promise<unknown>) =>
    work.then(
      () => 'done',
      (error: { code?: string }) => error.code,
    );
  const small = () => {
    const { module, jobName: name } = listClaims;
    return { module, name, request: { inbox: tempDir() } };
  };

  it('starts threads only up to the limit, and none before there is work', async () => {
    pool = new WorkerPool({ threads: 2 });
    expect(pool.threads).to.equal(0);
    await Promise.all(Array.from({ length: 8 }, () => pool.run(small())));
    expect(pool.threads).to.be.within(1, 2);
  });

  /** Does what it is told to, see odd-worker.ts. */
  const odd = (what: string) => ({ module: '', name: '', request: what });

  it('fails the job whose thread dies, and no other', async () => {
    pool = new WorkerPool({ threads: 1, worker: ODD_WORKER });
    for (const way of ['exit', 'throw later', 'answer with a function']) {
      const given = [odd(way), odd('answer'), odd('answer')];
      const answers = await Promise.all(given.map((message) => code(pool.run(message))));
      expect(answers, way).to.deep.equal(['thread.failed', 'done', 'done']);
      expect(await code(pool.run(odd('answer'))), way).to.equal('done');
    }
  });

  it('fails waiting jobs when no thread can be started, and retries with the next job', async () => {
    const place = tempDir();
    const worker = pathToFileURL(join(place, 'worker.mjs')).href;
    pool = new WorkerPool({ threads: 2, worker });
    const tried = Array.from({ length: 5 }, () => code(pool.run(odd('answer'))));
    expect(new Set(await Promise.all(tried))).to.deep.equal(new Set(['thread.failed']));
    const error = await pool.run(odd('answer')).catch((caught: Error) => caught);
    expect(error, 'why').to.include({ code: 'thread.failed' });
    expect((error as Error).message).to.include('worker.mjs');
    copyFileSync(new URL(ODD_WORKER), join(place, 'worker.mjs'));
    expect(await code(pool.run(odd('answer')))).to.equal('done');
  });

  it('can be closed at the moment a job ends: nothing else fails', async () => {
    pool = new WorkerPool({ threads: 1 });
    await pool.run(small());
    const running = code(pool.run(small()));
    // Its answer comes meanwhile, and is read after the end.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
    await pool.close();
    expect(await running).to.equal('thread.failed');
    // Mocha fails the test on an uncaught error.
    await pause(50);
  });

  it('reports a failed job only after its thread has ended', async () => {
    pool = new WorkerPool({ threads: 1, worker: ODD_WORKER });
    const place = tempDir();
    const failed = code(pool.run({ ...odd(''), request: { write: join(place, 'file') } }));
    await waitFor('the job', () => existsSync(join(place, 'file')));
    const closed = pool.close();
    expect(await failed).to.equal('thread.failed');
    const size = statSync(join(place, 'file')).size;
    await closed;
    await pause(100);
    expect(statSync(join(place, 'file')).size).to.equal(size);
    expect(await code(pool.run(odd('answer')))).to.equal('thread.failed');
  });

  it('ends the process on an error that belongs to no job', async () => {
    const { status, stderr } = spawnSync(process.execPath, [
      '--input-type=module',
      '--eval',
      `import { WorkerPool } from '${import.meta.resolve('#src/workers/worker-pool.js')}';
       const pool = new WorkerPool({ threads: 1, worker: '${ODD_WORKER}' });
       await pool.run({ module: '', name: '', request: 'fail when idle' });
       setTimeout(() => {}, 10_000);`,
    ]);
    expect(status).to.equal(1);
    expect(stderr.toString()).to.include('nobody caught this');
  });

  it('reports to the caller that a request cannot be sent to a thread', async () => {
    pool = new WorkerPool({ threads: 1 });
    const request = { inbox: () => 'a function' };
    const error = await pool.run({ ...small(), request }).catch((caught) => caught);
    expect(error).to.be.instanceOf(DOMException);
    expect(await code(pool.run(small()))).to.equal('done');
  });

  it('transfers the bytes of a Buffer', async () => {
    pool = new WorkerPool({ threads: 1, worker: ODD_WORKER });
    const bytes = (await pool.run(odd('answer with a buffer'))) as Uint8Array;
    expect(bytes).to.be.instanceOf(Uint8Array);
    expect([...bytes]).to.deep.equal([1, 2, 3]);
  });

  it('shares shared memory', async () => {
    pool = new WorkerPool({ threads: 1 });
    const lockLost = new Int32Array(new SharedArrayBuffer(4));
    lockLost[0] = 1;
    const roots = { published: tempDir(), state: tempDir() };
    const flip = { roots, id: 'app', base: null, snapshot: '1970-01-01T00:00:00Z', lockLost };
    expect(
      await code(pool.run({ module: flipTo.module, name: flipTo.jobName, request: flip })),
    ).to.equal('lock.lost');
  });
});
