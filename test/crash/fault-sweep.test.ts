/**
 * Goal: whatever disk operation fails, a reader sees the old snapshot or the new one, and the drop is
 * eventually published (I1, I3, I4). Method: fail the k-th operation of a delivery, until a delivery
 * completes without a failure; check; then start a healthy daemon on the result. Repeat with a whole
 * daemon, which must continue by itself. Each run tries different k; DROPDOCK_TEST_POINTS=all tries each.
 */
import { mkdirSync, readdirSync, renameSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect } from 'chai';
import { nodeDisk } from '#src/storage/disk.js';
import {
  deliver,
  dropPath,
  prepareSweep,
  SWEEP_LEAVING_YAML,
  SWEEP_YAML,
  SWEPT_DROPS,
  type SweptDrop,
} from '../support/deliver.js';
import { type DiskOperation, interfereWith, systemError } from '../support/faulty-disk.js';
import { receipts, testDaemon, testServices } from '../support/service.js';
import { removeTempDirs } from '../support/temp-dir.js';
import { waitFor } from '../support/wait-for.js';

const ALL = process.env.DROPDOCK_TEST_POINTS === 'all';
/** Every operation of a delivery, or every seventh, beginning with another one in every run. */
const STEP = ALL ? 1 : 7;
/** The same for what is tried with each kind of drop. */
const KINDS_STEP = ALL ? 1 : 13;
const MOMENT = Date.now();

/** @returns false when the delivery ended before its k-th operation */
async function failOnce(
  root: string,
  { path }: SweptDrop,
  { k, code, yaml }: { k: number; code: string; yaml: string },
) {
  let failed = false;
  let armed = false;
  let number = 0;
  const disk = interfereWith(nodeDisk, (operation) => {
    if (!armed || ++number !== k) return;
    failed = true;
    throw systemError(code, operation);
  });
  const services = await testServices(root, { disk, yaml });
  armed = true;
  try {
    await deliver(services, path);
  } catch (error) {
    if ((error as { code?: string }).code === undefined) throw error;
  } finally {
    armed = false;
    await services.close();
  }
  return failed;
}

interface Seen {
  points: number;
  old: number;
  new: number;
}

async function sweep(
  drop: SweptDrop,
  code: string,
  step: number,
  yaml = SWEEP_YAML,
): Promise<Seen> {
  const seen = { points: 0, old: 0, new: 0 };
  for (let k = 1 + (MOMENT % step); ; k += step) {
    const { root, look } = await prepareSweep(drop);
    const failed = await failOnce(root, drop, { k, code, yaml });
    const sees = look();
    const { services, stop } = await testDaemon(root, { disk: nodeDisk, yaml });
    const settled = () => receipts(root).length === 2;
    await waitFor(`the receipt after ${code} at operation ${k}`, settled).catch((error) => {
      throw new Error(`${(error as Error).message}\n${JSON.stringify(services.lines, null, 1)}`);
    });
    await stop();
    expect(look()).to.equal('new');
    const [, last] = receipts(root);
    expect(last?.status, `after ${code} at ${k}`).to.be.oneOf(['published', 'unchanged']);
    if (!failed) {
      expect(sees).to.equal('new');
      return seen;
    }
    seen.points++;
    seen[sees]++;
    removeTempDirs();
  }
}

describe('publish when the k-th disk operation fails', () => {
  afterEach(removeTempDirs);

  for (const code of ['EIO', 'ENOSPC', 'EACCES']) {
    it(`never exposes a partial snapshot, and eventually publishes: ${code}`, async function () {
      this.timeout(ALL ? 1_800_000 : 180_000);
      const { points, ...seen } = await sweep(SWEPT_DROPS['a small directory'], code, STEP);
      console.info(`      ${points} points: ${seen.old} times old, ${seen.new} times new`);
      // The sweep has met both sides of the flip.
      expect(seen.old).to.be.greaterThan(20);
      expect(seen.new).to.be.greaterThan(2);
    });
  }

  it('never exposes a partial snapshot, and publishes once: a drop that stays in the inbox', async function () {
    this.timeout(ALL ? 1_800_000 : 180_000);
    const [drop, yaml] = [SWEPT_DROPS['a small directory'], SWEEP_LEAVING_YAML];
    const { points, ...seen } = await sweep(drop, 'EIO', KINDS_STEP, yaml);
    console.info(`      ${points} points: ${seen.old} times old, ${seen.new} times new`);
    expect(seen.old).to.be.greaterThan(10);
    expect(seen.new).to.be.greaterThan(1);
  });

  for (const [kind, drop] of Object.entries(SWEPT_DROPS).slice(1)) {
    it(`never exposes a partial snapshot, and eventually publishes: ${kind}`, async function () {
      this.timeout(ALL ? 1_800_000 : 180_000);
      const { points, ...seen } = await sweep(drop, 'EIO', KINDS_STEP);
      console.info(`      ${points} points: ${seen.old} times old, ${seen.new} times new`);
      expect(seen.old).to.be.greaterThan(10);
      expect(seen.new).to.be.greaterThan(1);
    });
  }
});

/** A daemon that works whose k-th operation after a drop has come fails. */
async function failDaemonOnce(drop: SweptDrop, k: number): Promise<DiskOperation | undefined> {
  const { root, look } = await prepareSweep(drop);
  // On its filesystem, and no drop yet: it comes as it is, in one step.
  const [aside, place] = [join(root, 'inbox', '.aside'), dropPath(root, drop.path)];
  renameSync(place, aside);
  let failed: DiskOperation | undefined;
  let armed = false;
  let number = 0;
  const disk = interfereWith(nodeDisk, (operation) => {
    if (!armed || ++number !== k) return;
    failed = operation;
    throw systemError('EIO', operation);
  });
  // Drops unknown to the process are searched for as often as dead processes.
  const yaml = `${SWEEP_YAML}lock: {stale: 2s}\n`;
  const { services, daemon, stop } = await testDaemon(root, { disk, yaml });
  const isDone = () => {
    look();
    return receipts(root).length === 2;
  };
  armed = true;
  mkdirSync(dirname(place), { recursive: true });
  renameSync(aside, place);
  try {
    await Promise.race([waitFor('the receipt', isDone), daemon.failed]);
    armed = false;
    expect(look()).to.equal('new');
    expect(receipts(root)[1]?.status).to.be.oneOf(['published', 'unchanged']);
    const left = () =>
      ['inbox/.claimed', 'state/trash', 'state/work'].map((each) => join(root, each));
    await waitFor('nothing left', () => left().every((each) => readdirSync(each).length === 0));
  } catch (error) {
    const at = `EIO at operation ${k}, ${failed?.verb} ${failed?.paths}`;
    const lines = JSON.stringify(services.lines, null, 1);
    throw new Error(`${at}: ${(error as Error).stack}\n${lines}`);
  } finally {
    await stop();
  }
  return failed;
}

describe('a daemon whose k-th disk operation fails', () => {
  afterEach(removeTempDirs);

  for (const [kind, drop] of Object.entries(SWEPT_DROPS)) {
    it(`never exposes a partial snapshot, and publishes without a restart: ${kind}`, async function () {
      this.timeout(ALL ? 1_800_000 : 180_000);
      let points = 0;
      for (let k = 1 + (MOMENT % KINDS_STEP); ; k += KINDS_STEP, points++) {
        if ((await failDaemonOnce(drop, k)) === undefined) break;
        removeTempDirs();
      }
      console.info(`      ${points} points`);
      expect(points).to.be.greaterThan(10);
    });
  }
});
