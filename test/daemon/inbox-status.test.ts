/** The inbox status is built from events; here also from those of a real daemon. */

import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { InboxStatus } from '#src/daemon/inbox-status.js';
import { DropdockError } from '#src/errors.js';
import type { RepositoryName } from '#src/image/names.js';
import { listRejected } from '#src/inbox/rejected.js';
import type { PublishedOutcome } from '#src/publisher/target.js';
import { addProgress, newProgress } from '#src/storage/progress.js';
import { dropBytes } from '#src/storage/receive.js';
import type { KnownDrop } from '#src/web/daemon-view.js';
import { makeLayout, TestContent } from '../support/make-image.js';
import { testDaemon } from '../support/service.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { waitFor } from '../support/wait-for.js';

const shown = ({ kind, drop, state, repositories }: KnownDrop) =>
  `${kind} ${drop} ${state} [${repositories}]`;

/** A system error, as Node throws it. */
const noSpace = (path: string) =>
  Object.assign(new Error(`ENOSPC: no space left, write '${path}'`), {
    code: 'ENOSPC',
    syscall: 'write',
  });

/** As far as the board looks at it. */
const outcomeWith = (tags: readonly string[], status: PublishedOutcome['status'] = 'published') =>
  ({ status, content: { roots: [{ tags }] } }) as unknown as PublishedOutcome;

describe('inbox status', () => {
  let stop: (() => Promise<void>) | undefined;
  afterEach(async () => {
    await stop?.();
    stop = undefined;
    removeTempDirs();
  });

  it('follows drops through a daemon: waiting with reason, vanished, published, rejected', async () => {
    const root = tempDir();
    const yaml = 'settle: {quiet: 20ms, timeout: 5m}\n';
    const started = await testDaemon(root, { yaml });
    stop = started.stop;
    const { board } = started.services;
    const inbox = join(root, 'inbox');
    const look = async () => (await board.drops()).map(shown);
    let changes = 0;
    board.onChange(() => {
      changes++;
    });
    const content = new TestContent();
    const image = content.image();
    const [missing = ''] = content.blobs.keys();
    mkdirSync(join(inbox, 'team'));
    content.writeLayout(join(inbox, 'team', 'app:1'), [{ image }], { omit: [missing] });
    const reason = () =>
      board.drops().then((all) => all.find(({ reason }) => reason?.includes(missing))?.reason);
    expect(await waitFor('the reason', reason)).to.match(/^waiting for 1 of 3 blobs: /);
    expect(await look()).to.deep.equal(['waiting team/app:1 waiting [team/app]']);
    rmSync(join(inbox, 'team', 'app:1'), { recursive: true });
    await waitFor('it to be gone', async () => (await look()).length === 0);
    makeLayout(join(inbox, 'other'));
    await waitFor('it', async () => (await look()).includes('published other published [other]'));
    makeLayout(join(inbox, 'Bad'));
    await waitFor('it', async () => (await look()).includes('rejected Bad rejected []'));
    expect(board.isMoving()).to.equal(false);
    expect(changes).to.be.greaterThan(4);
    const [flip] = await board.history('other' as never);
    expect(flip).to.include({ why: 'publish', kept: true, current: true });
  });

  it('tracks the progress of a drop, restarts it on a retry, and forgets idle drops', async () => {
    const liveClaims = new Set(['a@1']);
    let counted = 0;
    const run = (async (job: unknown) =>
      job === dropBytes ? 100 * (5 + counted++) : { drops: [] }) as never;
    const roots = { published: '/srv/published', state: '/srv/state' };
    const board = new InboxStatus({ inbox: '/srv/inbox', roots, run, liveClaims, nowMs: () => 7 });
    const progress = newProgress();
    const [drop, repository] = ['a', 'a' as RepositoryName];
    board.hear({ type: 'drop.claimed', drop });
    board.hear({ type: 'drop.queued', drop, key: 'a@1', path: '/srv/inbox/.claimed/a', progress });
    const only = async () => (await board.drops())[0];
    // Reading the whole drop takes time; no scan has run yet.
    expect(counted).to.equal(0);
    expect((await only())?.state).to.equal('queued');
    expect(counted).to.equal(0);
    board.hear({ type: 'publish.started', drop, repository });
    addProgress(progress, 200);
    expect((await only())?.progress).to.deep.equal({ done: 200, total: undefined });
    expect(await only()).to.deep.include({
      state: 'publishing',
      sinceMs: 7,
      progress: { done: 200, total: 500 },
    });
    expect(board.isMoving()).to.equal(true);
    const error = noSpace('/srv/state/work/x');
    const again = { target: undefined, error, attempt: 1, nextMs: 2000 };
    board.hear({ type: 'publish.retry', drop, repository, ...again });
    expect(await only()).to.include({
      state: 'retrying',
      code: 'ENOSPC',
      reason: "ENOSPC: no space left, write '<state>/work/x' Retrying in 2.0s.",
    });
    board.hear({ type: 'publish.started', drop, repository });
    expect((await only())?.progress?.done).to.equal(0);
    board.hear({ type: 'publish.waiting', drop, repository });
    expect(await only()).to.include({
      state: 'publishing',
      reason: 'Another publisher holds the lock of a.',
    });
    liveClaims.clear();
    expect([await only(), board.isMoving()]).to.deep.equal([undefined, false]);
  });

  it('keeps two drops with one name apart, and forgets their progress when both are finished', async () => {
    const liveClaims = new Set(['a@1', 'a@2', 'b@1']);
    const run = (async () => ({ drops: [] })) as never;
    const roots = { published: '/p', state: '/s' };
    const board = new InboxStatus({ inbox: '/i', roots, run, liveClaims, nowMs: () => 0 });
    const progress = newProgress();
    const queue = (key: string) => {
      const drop = key[0] ?? '';
      board.hear({ type: 'drop.queued', drop, key, path: `/i/.claimed/${key}`, progress });
    };
    for (const key of liveClaims) {
      board.hear({ type: 'drop.claimed', drop: key[0] ?? '' });
      queue(key);
    }
    board.hear({ type: 'publish.started', drop: 'a', repository: undefined });
    const states = async () => (await board.drops()).map(({ drop, state }) => `${drop} ${state}`);
    expect(await states()).to.deep.equal(['a publishing', 'a publishing', 'b queued']);
    liveClaims.delete('a@1');
    expect(await states()).to.deep.equal(['a publishing', 'b queued']);
    liveClaims.delete('a@2');
    expect(await states()).to.deep.equal(['b queued']);
    queue('a@3');
    liveClaims.add('a@3');
    expect(await states()).to.deep.equal(['b queued', 'a queued']);
  });

  it('resolves a name to every repository it may mean, and a bundle to none', async () => {
    const run = (async () => ({ drops: [] })) as never;
    const roots = { published: '/p', state: '/s' };
    const board = new InboxStatus({
      inbox: '/i',
      roots,
      run,
      liveClaims: new Set(),
      nowMs: () => 0,
    });
    for (const drop of ['app.tar', 'team/app:1@x', 'team~app=1', '@all.tar', 'team/@b', 'Bad']) {
      board.hear({ type: 'drop.seen', drop });
    }
    const repository = 'secret' as RepositoryName;
    const outcome = outcomeWith(['1']);
    board.hear({ type: 'publish.done', drop: '@all.tar', repository, outcome, tookMs: 1 });
    expect((await board.drops()).map(shown)).to.deep.equal([
      'waiting app.tar waiting [app,app.tar]',
      'waiting team/app:1@x waiting [team/app]',
      'waiting team~app=1 waiting [team/app]',
      'waiting @all.tar waiting []',
      'waiting team/@b waiting []',
      'waiting Bad waiting []',
      'published @all.tar published []',
    ]);
  });

  it('reports the repository and tags of a published drop', async () => {
    const run = (async () => ({ drops: [] })) as never;
    const roots = { published: '/p', state: '/s' };
    const board = new InboxStatus({
      inbox: '/i',
      roots,
      run,
      liveClaims: new Set(),
      nowMs: () => 0,
    });
    const repository = 'team/app' as RepositoryName;
    const tell = (drop: string, outcome: PublishedOutcome) =>
      board.hear({ type: 'publish.done', drop, repository, outcome, tookMs: 1 });
    tell('team/app:1', outcomeWith(['1']));
    tell('team/app', outcomeWith(['1', '2', '3', '4', '5', '6', '7'], 'unchanged'));
    tell('@all.tar', outcomeWith([]));
    const told = (await board.drops()).map(({ drop, state, reason }) => [drop, state, reason]);
    // The last is the first.
    expect(told).to.deep.equal([
      ['@all.tar', 'published', 'team/app'],
      ['team/app', 'unchanged', '1,2,3,4,5,+2'],
      ['team/app:1', 'published', '1'],
    ]);
  });

  it('reloads the rejected drops when another drop is rejected', async () => {
    let listed = 0;
    const run = (async (job: unknown) => {
      if (job === listRejected) listed++;
      return { drops: [] };
    }) as never;
    const roots = { published: '/p', state: '/s' };
    const board = new InboxStatus({
      inbox: '/i',
      roots,
      run,
      liveClaims: new Set(),
      nowMs: () => 0,
    });
    await board.drops();
    await board.drops();
    expect(listed).to.equal(1);
    const error = new DropdockError('tag.invalid', 'made up');
    board.hear({ type: 'drop.rejected', drop: 'a', repository: undefined, error });
    await board.drops();
    expect(listed).to.equal(2);
  });

  it('ignores events that do not concern a drop', () => {
    const run = (async () => ({ drops: [] })) as never;
    const roots = { published: '/p', state: '/s' };
    const board = new InboxStatus({
      inbox: '/i',
      roots,
      run,
      liveClaims: new Set(),
      nowMs: () => 0,
    });
    let changes = 0;
    const end = board.onChange(() => {
      changes++;
    });
    board.hear({ type: 'step.done', step: 'scan', tookMs: 1 });
    expect(changes).to.equal(0);
    board.hear({ type: 'drop.gone', drop: 'a' });
    expect(changes).to.equal(1);
    end();
    board.hear({ type: 'drop.gone', drop: 'a' });
    expect(changes).to.equal(1);
  });
});
