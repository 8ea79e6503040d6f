/** The board knows what goes on because it hears what is logged; a real daemon is what it hears. */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { Board } from '#src/daemon/board.js';
import { addProgress, newProgress } from '#src/disk/progress.js';
import type { KnownDrop } from '#src/registry/daemon-view.js';
import { makeLayout, TestContent } from '../support/make-image.js';
import { testDaemon } from '../support/service.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { waitFor } from '../support/wait-for.js';

const shown = ({ kind, drop, state, repositories }: KnownDrop) =>
  `${kind} ${drop} ${state} [${repositories}]`;

describe('the board', () => {
  let stop: (() => Promise<void>) | undefined;
  afterEach(async () => {
    await stop?.();
    stop = undefined;
    removeTempDirs();
  });

  it('follows drops through a daemon: waiting and why, gone, published, refused', async () => {
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
    expect(await waitFor('the reason', reason)).to.match(/^missing: /);
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

  it('knows how far a drop is, begins again with it, and forgets what is not worked on', async () => {
    const liveClaims = new Set(['a@1']);
    let counted = 0;
    const run = (async (job: string) =>
      job === 'dropBytes' ? 100 * (5 + counted++) : []) as never;
    const roots = { published: '/srv/published', state: '/srv/state' };
    const board = new Board({ inbox: '/srv/inbox', roots, run, liveClaims, nowMs: () => 7 });
    const progress = newProgress();
    board.hear('drop.claimed', { drop: 'a' });
    board.take({ key: 'a@1', name: 'a', path: '/srv/inbox/.claimed/a', progress });
    const only = async () => (await board.drops())[0];
    // Reading the drop through takes its time; nobody has looked yet.
    expect(counted).to.equal(0);
    expect((await only())?.state).to.equal('queued');
    expect(counted).to.equal(0);
    board.hear('publish.started', { drop: 'a', repo: 'a' });
    addProgress(progress, 200);
    expect((await only())?.progress).to.deep.equal({ done: 200, total: undefined });
    expect(await only()).to.deep.include({
      state: 'publishing',
      sinceMs: 7,
      progress: { done: 200, total: 500 },
    });
    expect(board.isMoving()).to.equal(true);
    const message = "ENOSPC: no space left, write '/srv/state/work/x'";
    board.hear('publish.retry', { drop: 'a', code: 'ENOSPC', message, next: '2.0s' });
    expect(await only()).to.include({
      state: 'retrying',
      code: 'ENOSPC',
      reason: "ENOSPC: no space left, write '<state>/work/x' It is tried again in 2.0s.",
    });
    board.hear('publish.started', { drop: 'a' });
    expect((await only())?.progress?.done).to.equal(0);
    liveClaims.clear();
    expect([await only(), board.isMoving()]).to.deep.equal([undefined, false]);
  });

  it('keeps two of one name apart, and forgets how it goes with it when both are over', async () => {
    const liveClaims = new Set(['a@1', 'a@2', 'b@1']);
    const run = (async () => []) as never;
    const roots = { published: '/p', state: '/s' };
    const board = new Board({ inbox: '/i', roots, run, liveClaims, nowMs: () => 0 });
    const progress = newProgress();
    for (const key of liveClaims) {
      board.hear('drop.claimed', { drop: key[0] });
      board.take({ key, name: key[0] ?? '', path: `/i/.claimed/${key}`, progress });
    }
    board.hear('publish.started', { drop: 'a' });
    const states = async () => (await board.drops()).map(({ drop, state }) => `${drop} ${state}`);
    expect(await states()).to.deep.equal(['a publishing', 'a publishing', 'b queued']);
    liveClaims.delete('a@1');
    expect(await states()).to.deep.equal(['a publishing', 'b queued']);
    liveClaims.delete('a@2');
    expect(await states()).to.deep.equal(['b queued']);
    board.take({ key: 'a@3', name: 'a', path: '/i/.claimed/a', progress });
    liveClaims.add('a@3');
    expect(await states()).to.deep.equal(['b queued', 'a queued']);
  });

  it('takes a name for every repository it may mean, and a bundle for none', async () => {
    const run = (async () => []) as never;
    const roots = { published: '/p', state: '/s' };
    const board = new Board({ inbox: '/i', roots, run, liveClaims: new Set(), nowMs: () => 0 });
    for (const drop of ['app.tar', 'team/app:1@x', 'team~app=1', '@all.tar', 'team/@b', 'Bad']) {
      board.hear('drop.seen', { drop });
    }
    board.hear('publish.done', { drop: '@all.tar', repo: 'secret', tags: '1' });
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
});
