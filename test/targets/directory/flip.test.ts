/** Steps 9 to 11: a publisher that was overtaken, or lost its lock, cannot flip (I7). */
import { once } from 'node:events';
import { cpSync, existsSync, readdirSync, readlinkSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { expect } from 'chai';
import type { RepositoryId } from '#src/image/names.js';
import type { Timestamp } from '#src/repository/timestamp.js';
import { readClock } from '#src/storage/clock.js';
import { nodeDisk } from '#src/storage/disk.js';
import { cleanRepository } from '#src/targets/directory/clean-snapshots.js';
import { flip } from '#src/targets/directory/flip.js';
import { deliver, prepareSweep, SWEPT_DROP, SWEPT_ID } from '../../support/deliver.js';
import { interfereWith, systemError } from '../../support/faulty-disk.js';
import { makeRandom } from '../../support/random.js';
import { refusal } from '../../support/refusal.js';
import { receipts, testDaemon, testServices } from '../../support/service.js';
import { removeTempDirs } from '../../support/temp-dir.js';
import { waitFor } from '../../support/wait-for.js';
import type { FlipThreadData } from './flip-thread.js';

const LATER = '20990101T000000.000Z' as Timestamp;
const LAST = '20990102T000000.000Z' as Timestamp;
const BASE = '20260101T000000.000Z' as Timestamp;
const RACERS = [LATER, LAST] as const;
const ROUNDS = 1000;
const STEPS = 64;
const SEED = Number(process.env.DROPDOCK_TEST_SEED ?? Date.now() % 2 ** 31);

describe('flip', () => {
  let root: string;
  let pivot: string;
  let current: Timestamp;

  beforeEach(async () => {
    ({ root } = await prepareSweep());
    pivot = join(root, 'published/web', SWEPT_ID);
    current = readlinkSync(pivot).split('/').at(-1) as Timestamp;
  });

  afterEach(removeTempDirs);

  const request = (base: Timestamp | null, lost = 0) => ({
    roots: { published: join(root, 'published'), state: join(root, 'state') },
    id: SWEPT_ID as RepositoryId,
    base,
    snapshot: LATER,
    lockLost: new Int32Array(new SharedArrayBuffer(4)).fill(lost),
  });

  it('moves the pivot when it matches the base of the publish', () => {
    expect(flip(nodeDisk, request(current))).to.deep.equal([]);
    expect(readlinkSync(pivot)).to.equal(`../master/${SWEPT_ID}/${LATER}`);
  });

  it('never moves the pivot to a snapshot that another host removed as unfinished', () => {
    const { roots, id } = request(current);
    const master = join(root, 'published/master', SWEPT_ID);
    cpSync(join(master, current), join(master, LATER), { recursive: true });
    let isCleaned = false;
    // It sleeps between its last look and the rename, and its lock is taken over meanwhile.
    const disk = interfereWith(nodeDisk, ({ verb, paths }) => {
      if (verb !== 'rename' || !paths.endsWith(`/web/${SWEPT_ID}`) || isCleaned) return;
      isCleaned = true;
      const rules = { keep: 3, graceMs: 0, nowMs: Date.now(), clock: readClock() };
      expect(cleanRepository(nodeDisk, { roots, id, ...rules })).to.deep.equal([LATER]);
    });
    expect(refusal(() => flip(disk, request(current))).code).to.equal('lock.lost');
    expect(readlinkSync(pivot)).to.contain(current);
    expect(existsSync(pivot)).to.equal(true);
  });

  for (const base of [null, '20200101T000000.000Z' as Timestamp]) {
    it(`keeps the pivot when another publisher moved it meanwhile (built on ${base})`, () => {
      expect(refusal(() => flip(nodeDisk, request(base))).code).to.equal('pivot.moved');
      expect(readlinkSync(pivot)).to.contain(current);
    });
  }

  it('keeps the pivot when the lock is lost', () => {
    expect(refusal(() => flip(nodeDisk, request(current, 1))).code).to.equal('lock.lost');
    expect(readlinkSync(pivot)).to.contain(current);
  });

  it('trusts the pivot over the response to a rename that was lost on its way (NFS)', () => {
    const disk = {
      ...nodeDisk,
      rename: (from: string | Buffer, to: string) => {
        nodeDisk.rename(from, to);
        throw Object.assign(new Error('EIO'), { code: 'EIO', syscall: 'rename' });
      },
    };
    expect(flip(disk, request(current))).to.deep.equal([]);
    expect(readlinkSync(pivot)).to.contain(LATER);
  });

  it('is refused to a publisher that slept while another took over', () => {
    const disk = interfereWith(nodeDisk, ({ verb, paths }) => {
      if (verb === 'rename' && paths.endsWith(` ${pivot}`)) takeOver();
    });
    const takeOver = () => flip(nodeDisk, { ...request(current), snapshot: LAST });
    expect(refusal(() => flip(disk, request(current))).code).to.equal('lock.lost');
    expect(readlinkSync(pivot)).to.contain(LAST);
    expect(readdirSync(join(root, 'state/flips', SWEPT_ID))).to.deep.equal([]);
  });

  it(`succeeds for only one of two publishers, in any order of steps (${ROUNDS} orders)`, async () => {
    console.info(`      seed ${SEED}`);
    const [ends, pivots] = await raceTwo(request(null).roots, makeRandom(SEED));
    const winners = pivots.map((target, round) => {
      const flipped = [0, 1].filter((who) => ends[who]?.[round] === 'flipped');
      expect(flipped.length, `round ${round}: ${ends[0]?.[round]}, ${ends[1]?.[round]}`).below(2);
      const [who] = flipped;
      expect(target).to.equal(who === undefined ? BASE : RACERS[who]);
      return who;
    });
    for (const who of [0, 1]) expect(winners).to.include(who);
  });

  it('survives later failures: the drop is published, the next publish or clean does the rest (I4)', async () => {
    const link = join(root, 'published/app', `${SWEPT_ID}.json`);
    let flipped = false;
    const disk = interfereWith(nodeDisk, (operation) => {
      const { verb, paths } = operation;
      if (verb === 'rename' && paths.endsWith(` ${pivot}`)) flipped = true;
      if (verb === 'rename' && paths.endsWith(` ${link}`)) throw systemError('EIO', operation);
      if (flipped && paths.includes('state/history')) throw systemError('EIO', operation);
    });
    const services = await testServices(root, { disk });
    const outcome = await deliver(services, SWEPT_DROP);
    await services.close();
    expect(outcome?.status).to.equal('published');
    expect(readlinkSync(pivot)).not.to.contain(current);
    expect(receipts(root).at(-1)?.status).to.equal('published');
    expect(readdirSync(join(root, 'inbox/.claimed'))).to.deep.equal([]);
  });

  it('keeps the drop when the sync fails, until a later publish or clean has synced', async () => {
    let flipped = false;
    const disk = interfereWith(nodeDisk, (operation) => {
      const { verb, paths } = operation;
      if (verb === 'rename' && paths.endsWith(` ${pivot}`)) flipped = true;
      else if (flipped && verb === 'open' && paths === `${join(root, 'published/web')} directory`) {
        throw systemError('EIO', operation);
      }
    });
    const services = await testServices(root, { disk });
    const error = await deliver(services, SWEPT_DROP).catch((each: Error) => each);
    await services.close();
    expect(error).to.include({ code: 'EIO' });
    expect(readlinkSync(pivot)).not.to.contain(current);
    // Published, and perhaps not on disk: the claim stays and there is no receipt for it.
    expect(readdirSync(join(root, 'inbox/.claimed'))).to.have.length(1);
    expect(receipts(root)).to.have.length(1);
    const { stop } = await testDaemon(root);
    await waitFor('its receipt', () => receipts(root).length === 2);
    await stop();
    // The history knows the drop; its flip is synced before anything else.
    expect(receipts(root)[1]?.status).to.equal('published');
  });
});

/** @returns how each flip of both ended, and what the pivots name then */
async function raceTwo(
  roots: FlipThreadData['roots'],
  random: () => number,
): Promise<[string[][], string[]]> {
  const schedule = Uint8Array.from({ length: ROUNDS * STEPS }, () => Math.floor(random() * 2));
  const control = new Int32Array(new SharedArrayBuffer(4 * ROUNDS * 4));
  const web = join(roots.published, 'web');
  for (let n = 0; n < ROUNDS; n++) symlinkSync(`../master/r${n}/${BASE}`, join(web, `r${n}`));
  const ends = RACERS.map(async (snapshot, n) => {
    const me = n as 0 | 1;
    const how = { base: BASE, rounds: ROUNDS, control, schedule, steps: STEPS };
    const workerData: FlipThreadData = { roots, me, snapshot, ...how };
    const worker = new Worker(new URL('./flip-thread.js', import.meta.url), { workerData });
    const [said] = (await once(worker, 'message')) as [string[]];
    return said;
  });
  const both = await Promise.all(ends);
  const named = (n: number) =>
    readlinkSync(join(web, `r${n}`))
      .split('/')
      .at(-1) ?? '';
  return [both, Array.from({ length: ROUNDS }, (_, n) => named(n))];
}
