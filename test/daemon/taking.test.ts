/** Goal: what one look finds goes together, and what was stored is kept until each has had its turn. */
import { expect } from 'chai';
import type { Services } from '#src/daemon/services.js';
import { type Taken, Taking } from '#src/daemon/taking.js';
import { toPlainError } from '#src/errors.js';
import { ClaimMoments } from '#src/inbox/claim-moments.js';
import type { Observation } from '#src/inbox/scan.js';
import type { StagedEarly } from '#src/publish/drop.js';
import { loadSettings } from '#src/settings/settings.js';
import type { TakeAnswer, TakeTogetherRequest } from '#src/threads/take-together.js';
import { waitFor } from '../support/wait-for.js';

const stored = () =>
  ({ content: {}, ingested: {}, forms: new Map(), base: undefined }) as unknown as StagedEarly;
const steps = { examine: 0, claim: 0, read: 0 };
const CLAIM = { name: 'x', owner: 'p1x1', at: 'then' } as never;

describe('Taking', () => {
  let jobs: TakeTogetherRequest[];
  let ended: string[];
  let failsToEnd: () => boolean;
  let isLeft: boolean;
  let answer: (path: string, batch: number) => TakeAnswer | undefined;
  let taking: Taking;

  beforeEach(() => {
    jobs = [];
    ended = [];
    isLeft = false;
    failsToEnd = () => false;
    answer = () => ({ verdict: { kind: 'whole' }, claim: CLAIM, early: stored(), steps });
    const run = async (job: string, request: TakeTogetherRequest) => {
      if (job === 'end') {
        ended.push(request.transaction);
        if (failsToEnd()) throw Object.assign(new Error('EIO'), { code: 'EIO', syscall: 'rmdir' });
        return;
      }
      const batch = jobs.push(request);
      await new Promise((resolve) => setImmediate(resolve));
      const answers = request.drops.map(({ take }) => answer(take.path, batch));
      return { answers: answers.filter((each) => each !== undefined), isLeft };
    };
    const { settings } = loadSettings({ flags: [], environment: {}, file: undefined });
    const owner = { token: 'p1x1' };
    const more = {
      roots: {},
      inbox: '/inbox',
      uid: 0,
      nowMs: () => 1000,
      claimMoments: new ClaimMoments(),
    };
    taking = new Taking({ ...more, settings, run, owner } as unknown as Services);
  });

  const seen = (path: string) => ({ path, kind: 'directory', signature: path }) as Observation;
  const takeAll = (count: number): Promise<Taken[]> =>
    Promise.all(Array.from({ length: count }, (_none, at) => taking.take(seen(`app:${at}`))));

  it('gives many to a job, two jobs at a time', async () => {
    const all = await takeAll(1100);
    expect(all.every(({ claim }) => claim === CLAIM)).to.equal(true);
    expect(jobs.map(({ drops }) => drops.length)).to.deep.equal([250, 250, 250, 250, 100]);
    expect(new Set(jobs.map(({ transaction }) => transaction)).size).to.equal(5);
  });

  it('shares few between two', async () => {
    await takeAll(5);
    expect(jobs.map(({ drops }) => drops.length)).to.deep.equal([3, 2]);
  });

  it('gives again what was not answered', async () => {
    answer = (path, batch) =>
      batch === 1 && path !== 'app:0'
        ? undefined
        : { verdict: { kind: 'whole' }, claim: CLAIM, early: undefined, steps };
    expect(await takeAll(6)).to.have.lengthOf(6);
    expect(jobs.map(({ drops }) => drops.length).reduce((a, b) => a + b)).to.be.greaterThan(6);
  });

  it('keeps what a job has stored until the last of its drops is done', async () => {
    const [one, two] = [await takeAll(1), await takeAll(2)].flat();
    await takeAll(0);
    one?.early?.release();
    expect(ended).to.deep.equal([jobs[0]?.transaction]);
    two?.early?.release();
    two?.early?.release();
    expect(ended).to.deep.equal([jobs[0]?.transaction, jobs[1]?.transaction]);
  });

  it('tries to end again what could not be ended: it keeps the store from being swept', async () => {
    failsToEnd = () => ended.length === 1;
    const [one] = await takeAll(1);
    one?.early?.release();
    await waitFor('another try', () => ended.length === 2);
    expect(new Set(ended)).to.deep.equal(new Set([jobs[0]?.transaction]));
  });

  it('ends what a job has left behind, and what one that failed may have', async () => {
    isLeft = true;
    answer = () => ({ verdict: { kind: 'whole' }, claim: CLAIM, early: undefined, steps });
    await takeAll(1);
    expect(ended).to.deep.equal([jobs[0]?.transaction]);
    answer = () => {
      throw Object.assign(new Error('the thread ended'), { code: 'EIO', syscall: 'read' });
    };
    const [result] = await Promise.allSettled([taking.take(seen('app:1'))]);
    expect(result?.status).to.equal('rejected');
    expect(ended).to.deep.equal(jobs.map(({ transaction }) => transaction));
  });

  it('ends only once for all of one job', async () => {
    const all = await takeAll(4);
    expect(jobs).to.have.lengthOf(2);
    for (const { early } of all.slice(0, 3)) early?.release();
    expect(ended).to.deep.equal([jobs[0]?.transaction]);
    all[3]?.early?.release();
    expect(ended).to.have.lengthOf(2);
  });

  it('fails only the drop that cannot be looked at', async () => {
    answer = (path) =>
      path === 'app:1'
        ? { error: toPlainError(Object.assign(new Error('EIO'), { code: 'EIO' })) }
        : { verdict: { kind: 'whole' }, claim: CLAIM, early: undefined, steps };
    const results = await Promise.allSettled([0, 1, 2].map((at) => taking.take(seen(`app:${at}`))));
    expect(results.map(({ status }) => status)).to.deep.equal([
      'fulfilled',
      'rejected',
      'fulfilled',
    ]);
  });

  it('takes as it is what has a name that can never be one, and what is due', async () => {
    const all = [
      taking.take(seen('App!')),
      taking.take(seen('app:1'), true),
      taking.take(seen('app:2')),
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

  it('has a repository wait while others of it are being taken', async () => {
    const all = takeAll(3);
    const settled = taking.settled('app');
    expect(settled).to.be.instanceOf(Promise);
    expect(taking.settled('other')).to.equal(undefined);
    await settled;
    expect(taking.settled('app')).to.equal(undefined);
    await all;
  });

  it('stores no more early when very many wait for their turn', async () => {
    const all = await takeAll(2500);
    const ways = () => jobs.map(({ drops }) => drops[0]?.ingest);
    expect(ways().slice(0, 8)).to.deep.equal(Array(8).fill('auto'));
    expect(ways().at(-1)).to.equal(undefined);
    for (const { early } of all) early?.release();
    await takeAll(1);
    expect(ways().at(-1)).to.equal('auto');
  });

  it('stores early only what goes to the directory, and is no bundle', async () => {
    await taking.take(seen('app:1'));
    await taking.take(seen('@bundle'));
    await taking.take({ ...seen('app.tar'), kind: 'file' });
    const ways = jobs.map(({ drops }) => drops[0]?.ingest);
    expect(ways).to.deep.equal(['auto', undefined, undefined]);
  });
});
