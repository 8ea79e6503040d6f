/**
 * Goal: the drops found by one scan are claimed together, and stored content is kept until each drop has
 * its receipt.
 */
import { expect } from 'chai';
import { type Claimed, Claiming } from '#src/daemon/claiming.js';
import type { Services } from '#src/daemon/services.js';
import { toPlainError } from '#src/errors.js';
import { ClaimMoments } from '#src/inbox/claim-moments.js';
import type { Observation } from '#src/inbox/scan.js';
import { Events, type PublishEvent } from '#src/publisher/events.js';
import type { StoredDrop } from '#src/publisher/stored-drop.js';
import { loadSettings } from '#src/settings/settings.js';
import type { ClaimAnswer, ClaimBatchRequest } from '#src/staging/claim-batch.js';
import { TransactionNames } from '#src/storage/transaction.js';
import { waitFor } from '../support/wait-for.js';

const STORE_YAML = `
targets:
  store: {type: s3, endpoint: "http://127.0.0.1:1", bucket: images}
repositories:
  both: {targets: [local, store]}
  there: {targets: [store]}
`;

const blob = (source: unknown) => ({ digest: 'sha256:1', size: 10, source });
const stored = () =>
  ({ content: { blobs: [blob({}), blob('published')] }, ingested: {} }) as unknown as StoredDrop;
const steps = { examine: 1, claim: 2, read: 3 };
const CLAIM = { name: 'x', owner: 'p1x1', at: 'then' } as never;
const WHOLE = { verdict: { kind: 'whole' }, claim: CLAIM, steps } as const;

describe('Claiming', () => {
  let jobs: ClaimBatchRequest[];
  let ended: string[];
  let heard: PublishEvent[];
  let failsToEnd: () => boolean;
  let isLeft: boolean;
  let answer: (path: string, batch: number) => ClaimAnswer | undefined;
  let claiming: Claiming;

  beforeEach(() => {
    jobs = [];
    ended = [];
    heard = [];
    isLeft = false;
    failsToEnd = () => false;
    answer = () => ({ ...WHOLE, stored: stored() });
    const run = async ({ jobName }: { jobName: string }, request: ClaimBatchRequest) => {
      if (jobName === 'end') {
        ended.push(request.transaction);
        if (failsToEnd()) throw Object.assign(new Error('EIO'), { code: 'EIO', syscall: 'rmdir' });
        return;
      }
      const batch = jobs.push(request);
      await new Promise((resolve) => setImmediate(resolve));
      const answers = request.drops.map(({ take }) => answer(take.path, batch));
      return { answers: answers.filter((each) => each !== undefined), isLeft };
    };
    const file = { name: 'test.yaml', text: STORE_YAML };
    const { settings } = loadSettings({ flags: [], environment: {}, file });
    const owner = { token: 'p1x1' };
    const nowMs = () => 1000;
    const events = new Events();
    events.subscribe((event) => heard.push(event));
    const more = {
      roots: {},
      inbox: '/inbox',
      uid: 0,
      nowMs,
      claimMoments: new ClaimMoments(),
      transactions: new TransactionNames(owner.token, nowMs),
      events,
    };
    claiming = new Claiming({ ...more, settings, run, owner } as unknown as Services);
  });

  const seen = (path: string) => ({ path, kind: 'directory', signature: path }) as Observation;
  const claimAll = (paths: readonly string[]): Promise<Claimed[]> =>
    Promise.all(paths.map((path) => claiming.claim(seen(path))));
  const numbered = (count: number, nameOf: (at: number) => string): string[] =>
    Array.from({ length: count }, (_none, at) => nameOf(at));
  const ofOne = (count: number) => numbered(count, (at) => `app:${at}`);
  const ofMany = (count: number) => numbered(count, (at) => `app${at}:1`);
  const sizes = () => jobs.map(({ drops }) => drops.length);
  const claimed = ({ drops }: ClaimBatchRequest) => drops.map(({ take }) => take.path);

  for (const [what, paths] of [
    ['one repository', ofOne(1100)],
    ['many repositories', ofMany(1100)],
  ] as const) {
    it(`groups many drops of ${what} into batch jobs, two jobs at a time`, async () => {
      const all = await claimAll(paths);
      expect(all.every(({ claim }) => claim === CLAIM)).to.equal(true);
      expect(sizes()).to.deep.equal([250, 250, 250, 250, 100]);
      expect(new Set(jobs.map(({ transaction }) => transaction)).size).to.equal(5);
      expect(jobs.flatMap(claimed)).to.deep.equal(paths);
    });
  }

  it('splits a few repositories between two jobs', async () => {
    await claimAll(ofMany(5));
    expect(sizes()).to.deep.equal([3, 2]);
  });

  it('keeps the drops of one repository in one job, in order', async () => {
    await claimAll(['a:1', 'app:1', 'b:1', 'app:2', 'c:1', 'app:3', 'd:1', 'app:4']);
    expect(jobs.map(claimed)).to.deep.equal([
      ['a:1', 'app:1', 'app:2', 'app:3', 'app:4'],
      ['b:1', 'c:1', 'd:1'],
    ]);
  });

  it('assigns unanswered drops again', async () => {
    answer = (path, batch) =>
      batch === 1 && path !== 'app:0' ? undefined : { ...WHOLE, stored: undefined };
    expect(await claimAll(ofOne(6))).to.have.lengthOf(6);
    expect(sizes().reduce((a, b) => a + b)).to.be.greaterThan(6);
  });

  it('assigns unanswered drops again in the same order', async () => {
    answer = (path, batch) =>
      batch === 1 && path !== 'app:0' ? undefined : { ...WHOLE, stored: undefined };
    await claimAll(ofOne(6));
    expect(jobs.map(claimed)).to.deep.equal([ofOne(6), ofOne(6).slice(1)]);
  });

  it('keeps content stored by a job until the last of its drops is finished', async () => {
    const [one, two] = [await claimAll(ofOne(1)), await claimAll(ofOne(2))].flat();
    await claimAll([]);
    await one?.held?.release();
    expect(ended).to.deep.equal([jobs[0]?.transaction]);
    await two?.held?.release();
    await two?.held?.release();
    expect(ended, 'another drop of the job is not done').to.have.lengthOf(1);
  });

  it('releases the stored content of a job only once', async () => {
    const all = await claimAll(ofMany(4));
    expect(jobs).to.have.lengthOf(2);
    for (const { held } of all.slice(0, 3)) await held?.release();
    expect(ended).to.deep.equal([jobs[0]?.transaction]);
    await all[2]?.held?.release();
    await all[3]?.held?.release();
    expect(ended).to.deep.equal(jobs.map(({ transaction }) => transaction));
  });

  it('retries a failed release, which would otherwise keep the store from being swept', async () => {
    failsToEnd = () => ended.length === 1;
    const [one] = await claimAll(ofOne(1));
    await one?.held?.release();
    await waitFor('another try', () => ended.length === 2);
    expect(new Set(ended)).to.deep.equal(new Set([jobs[0]?.transaction]));
  });

  it('releases what a job left behind, and what a failed job may have left behind', async () => {
    isLeft = true;
    answer = () => ({ ...WHOLE, stored: undefined });
    await claimAll(ofOne(1));
    expect(ended).to.deep.equal([jobs[0]?.transaction]);
    answer = () => {
      throw Object.assign(new Error('the thread ended'), { code: 'EIO', syscall: 'read' });
    };
    const [result] = await Promise.allSettled([claiming.claim(seen('app:1'))]);
    expect(result?.status).to.equal('rejected');
    expect(ended).to.deep.equal(jobs.map(({ transaction }) => transaction));
  });

  it('fails only the drop that cannot be examined', async () => {
    answer = (path) =>
      path === 'app:1'
        ? { error: toPlainError(Object.assign(new Error('EIO'), { code: 'EIO' })) }
        : { ...WHOLE, stored: undefined };
    const results = await Promise.allSettled(ofOne(3).map((path) => claiming.claim(seen(path))));
    expect(results.map(({ status }) => status)).to.deep.equal([
      'fulfilled',
      'rejected',
      'fulfilled',
    ]);
  });

  it('claims drops with invalid names, and drops that are due, without examining them', async () => {
    const all = [
      claiming.claim(seen('App!')),
      claiming.claim(seen('app:1'), true),
      claiming.claim(seen('app:2')),
    ];
    for (const { claim } of await Promise.all(all)) expect(claim).to.equal(CLAIM);
    const asked = jobs
      .flatMap(({ drops }) => drops)
      .map(({ examine, ingest }) => [examine?.path, ingest]);
    expect(asked).to.deep.equal([
      [undefined, undefined],
      [undefined, undefined],
      ['app:2', 'auto'],
    ]);
  });

  it('stops storing early while very many drops wait for receipts', async () => {
    const all = await claimAll(ofOne(2500));
    const ways = () => jobs.map(({ drops }) => drops[0]?.ingest);
    expect(ways().slice(0, 8)).to.deep.equal(Array(8).fill('auto'));
    expect(ways().at(-1)).to.equal(undefined);
    for (const { held } of all) await held?.release();
    await claimAll(ofOne(1));
    expect(ways().at(-1)).to.equal('auto');
  });

  it('stores directories early, whatever their repository, and no archives', async () => {
    for (const path of ['app:1', '@bundle', 'both:1', 'there:1']) await claiming.claim(seen(path));
    await claiming.claim({ ...seen('app.tar'), kind: 'file' });
    const ways = jobs.map(({ drops }) => drops[0]?.ingest);
    expect(ways).to.deep.equal([...Array(4).fill('auto'), undefined]);
    const elsewhere = jobs.map(({ drops }) => drops[0]?.examine?.elsewhere);
    expect(elsewhere).to.deep.equal([undefined, undefined, undefined, ['store'], undefined]);
  });

  it('reports the time of each step, and the bytes hashed along the way', async () => {
    await claimAll(ofOne(1));
    expect(heard).to.deep.equal([
      { type: 'step.done', step: 'examine', tookMs: 1 },
      { type: 'step.done', step: 'claim', tookMs: 2 },
      { type: 'step.done', step: 'read', tookMs: 3 },
      // The other blob was in the repository.
      { type: 'content.hashed', bytes: 10 },
    ]);
  });
});
