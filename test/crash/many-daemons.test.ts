/**
 * I1 and I7 on one shared tree: four daemons with one inbox, as on four hosts (no kernel locks, clocks
 * hours apart, random ESTALE, EIO and lost responses), are killed and restarted, and paused past their
 * lock timeout. No tag is lost, each drop gets one receipt, snapshot names only increase, each snapshot
 * is based on the previous one, and a continuous reader sees complete snapshots. DROPDOCK_TEST_MERGES
 * sets the length, DROPDOCK_TEST_SEED repeats a run.
 */
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { expect } from 'chai';
import { toTimestamp } from '#src/repository/timestamp.js';
import { dropdock } from '../support/daemon-process.js';
import { readRepository } from '../support/outside-reader.js';
import { makeRandom } from '../support/random.js';
import type { ReaderThreadAnswer, ReaderThreadData } from '../support/reader-thread.js';
import { receipts } from '../support/service.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { needTools } from '../support/tools.js';
import { waitFor } from '../support/wait-for.js';
import { Hosts, SHARED } from './hosts.js';

const SEED = Number(process.env.DROPDOCK_TEST_SEED ?? Date.now() % 2 ** 31);
const MERGES = Number(process.env.DROPDOCK_TEST_MERGES ?? 40);
/** The last is cleaned of all that is old while it is published to. */
const REPOSITORIES = ['app0', 'app1', 'app2', 'cleaned'];

describe('four daemons on one tree', function () {
  this.timeout(120_000 + MERGES * 1000);
  const random = makeRandom(SEED);
  let root: string;
  let hosts: Hosts;

  before(function () {
    needTools(this, 'gcc');
    console.info(`      seed ${SEED}`);
    root = tempDir();
    for (const name of ['inbox', 'published', 'state']) mkdirSync(join(root, name));
    hosts = new Hosts(root, random);
  });
  after(async () => {
    await hosts?.stop('SIGKILL');
    removeTempDirs();
  });

  it(`lose no tag in ${MERGES} merges while killed, paused and given wrong clocks and errors`, async () => {
    await hosts.start();
    const reader = startReader();
    const dropped = await dropAll();
    await waitFor('all receipts', () => receipts(root).length >= MERGES, 60_000 + MERGES * 300);
    await hosts.rest();
    const { looks, snapshots, violation } = await stopReader(reader);
    console.info(`      ${JSON.stringify(hosts.done)}, ${looks} looks, ${snapshots} snapshots`);
    expect(violation).to.equal(undefined);
    expect(hosts.ended).to.deep.equal([]);
    await expectNothingLeft();
    expectOneReceiptEach(dropped);
    for (const repository of REPOSITORIES) expectAllThere(repository, dropped);
    await hosts.stop('SIGTERM');
    const config = join(root, 'host0.yaml');
    const { code, stdout } = await dropdock('verify', '--root', root, '--config', config);
    expect(code, stdout).to.equal(0);
  });

  /** @returns what was dropped, `repository:tag` */
  async function dropAll(): Promise<string[]> {
    const dropped: string[] = [];
    const worries = hosts.worry();
    while (dropped.length < MERGES) {
      const repository = REPOSITORIES[Math.floor(random() * REPOSITORIES.length)] ?? '';
      dropped.push(hosts.drop(repository, `t${dropped.length}`));
      const waiting = () => dropped.length - receipts(root).length;
      await waitFor('room', () => waiting() < 12, 60_000);
    }
    await worries.end();
    return dropped;
  }

  function startReader(): Worker {
    const workerData: ReaderThreadData = { published: join(root, 'published'), ids: REPOSITORIES };
    return new Worker(new URL('../support/reader-thread.js', import.meta.url), { workerData });
  }

  async function stopReader(reader: Worker): Promise<ReaderThreadAnswer> {
    const answered = once(reader, 'message');
    reader.postMessage('stop');
    const [answer] = (await answered) as [ReaderThreadAnswer];
    await reader.terminate();
    return answer;
  }

  async function expectNothingLeft(): Promise<void> {
    const entries = (...names: string[]) =>
      readdirSync(join(root, ...names)).filter((name) => name !== '.owners');
    const left = () => [
      ...entries('inbox').filter((name) => !name.startsWith('.')),
      ...entries('inbox', '.claimed'),
      ...entries('state', 'work'),
      ...entries('state', 'trash'),
    ];
    await waitFor('claims and work to be gone', () => left().length === 0, 20_000).catch(() => {
      throw new Error(`left: ${left().join(', ')}\n${hosts.output()}`);
    });
  }

  function expectOneReceiptEach(dropped: readonly string[]): void {
    const said = receipts(root).map(({ drop, status }) => `${drop} ${status}`);
    expect(said.sort()).to.deep.equal(dropped.map((drop) => `${drop} published`).sort());
  }

  function expectAllThere(repository: string, dropped: readonly string[]): void {
    const expected = dropped.filter((drop) => drop.startsWith(`${repository}:`));
    const tags = Object.keys(readRepository(join(root, 'published'), repository)?.tags ?? {});
    const found = tags.map((tag) => `${repository}:${tag}`);
    expect(found.sort(), repository).to.deep.equal(expected.sort());
    const history = readFileSync(join(root, 'state/history', `${repository}.jsonl`), 'utf8');
    const names = history
      .trim()
      .split('\n')
      // Lines between the flips say how long ago they were.
      .flatMap((line) => (JSON.parse(line) as { snapshot?: string }).snapshot ?? []);
    expect(names, `${repository}: names grow`).to.deep.equal([...new Set(names)].sort());
    if (repository === 'cleaned') return;
    // Each snapshot is based on the previous one: no tags were skipped.
    const bases = names.map((name) => {
      const path = join(root, 'published/master', repository, name, '.snapshot.json');
      return JSON.parse(readFileSync(path, 'utf8')).base as string | null;
    });
    expect(bases, repository).to.deep.equal([null, ...names.slice(0, -1)]);
  }
});

describe('a host with a wrong clock', function () {
  this.timeout(60_000);
  let root: string;
  let hosts: Hosts | undefined;
  beforeEach(function () {
    needTools(this, 'gcc');
    root = tempDir();
    for (const name of ['inbox', 'published', 'state']) mkdirSync(join(root, name));
  });
  afterEach(async () => {
    await hosts?.stop('SIGKILL');
    removeTempDirs();
  });

  it('keeps content that other hosts’ pulls need, and names snapshots by the clock of the tree', async () => {
    hosts = new Hosts(root, makeRandom(SEED), { chances: {} });
    // The second is five hours ahead: by its clock the first snapshot is long past its grace period.
    for (const [n, tag] of ['t0', 't1'].entries()) {
      const host = await hosts.startOne(n);
      hosts.drop('cleaned', tag);
      await waitFor('its publish', () => host.output.includes(`publish.done repo=cleaned`));
      const names = readdirSync(join(root, 'published/master/cleaned'));
      expect(names).to.have.length(n + 1);
      const hourFromNow = toTimestamp(Date.now() + 3_600_000);
      expect(names.filter((name) => name > hourFromNow)).to.deep.equal([]);
      await hosts.stop('SIGTERM');
    }
  });
});

describe('a host that dies', function () {
  this.timeout(60_000);
  let root: string;
  let hosts: Hosts | undefined;
  beforeEach(function () {
    needTools(this, 'gcc');
    root = tempDir();
    for (const name of ['inbox', 'published', 'state']) mkdirSync(join(root, name));
  });
  afterEach(async () => {
    await hosts?.stop('SIGKILL');
    removeTempDirs();
  });

  it('loses its lock within one and a half times the lock timeout', async () => {
    hosts = new Hosts(root, makeRandom(SEED), { chances: {}, isClockRight: true });
    const dying = await hosts.startOne(0);
    const other = await hosts.startOne(1);
    dying.child.kill('SIGSTOP');
    other.child.kill('SIGSTOP');
    const drop = hosts.drop('app0', 't0');
    dying.child.kill('SIGCONT');
    // Somewhere between its claim and its receipt.
    const claimed = () => readdirSync(join(root, 'inbox/.claimed')).length > 0;
    await waitFor('the claim', () => claimed());
    dying.child.kill('SIGKILL');
    const diedMs = performance.now();
    const isLeft = claimed();
    other.child.kill('SIGCONT');
    await waitFor('its receipt', () => receipts(root).length === 1, 20_000);
    const tookMs = performance.now() - diedMs;
    console.info(`      ${isLeft ? 'taken over' : 'done before'} after ${Math.round(tookMs)} ms`);
    expect(receipts(root)[0]?.drop).to.equal(drop);
    expect(tookMs).to.be.lessThan(SHARED.staleMs * 1.5 + 3000);
  });
});
