/**
 * Goal: whatever disk operation fails, a reader sees the old snapshot or the new one, and the drop
 * is published in the end (I1, I3, I4). Method: fail the k-th operation of a delivery,
 * until a delivery passes untouched; look; then let a healthy daemon start on what is left. Every third
 * k, others in every run; DROPDOCK_TEST_POINTS=all tries each.
 */
import { expect } from 'chai';
import { nodeDisk } from '#src/disk/disk.js';
import { deliver, prepareSweep, SWEEP_YAML, SWEPT_DROP } from '../support/deliver.js';
import { interfereWith, systemError } from '../support/faulty-disk.js';
import { receipts, testDaemon, testServices } from '../support/service.js';
import { removeTempDirs } from '../support/temp-dir.js';
import { waitFor } from '../support/wait-for.js';

/** Every operation of a delivery, or every seventh, beginning with another one in every run. */
const STEP = process.env.DROPDOCK_TEST_POINTS === 'all' ? 1 : 7;
const FIRST = 1 + (Date.now() % STEP);

/** @returns false when the delivery ended before its k-th operation */
async function failOnce(root: string, k: number, code: string): Promise<boolean> {
  let failed = false;
  let armed = false;
  let number = 0;
  const disk = interfereWith(nodeDisk, (operation) => {
    if (!armed || ++number !== k) return;
    failed = true;
    throw systemError(code, operation);
  });
  const services = await testServices(root, { disk, yaml: SWEEP_YAML });
  armed = true;
  try {
    await deliver(services, SWEPT_DROP);
  } catch (error) {
    if ((error as { code?: string }).code === undefined) throw error;
  } finally {
    armed = false;
    await services.close();
  }
  return failed;
}

async function sweep(code: string): Promise<{ points: number; old: number; new: number }> {
  const seen = { points: 0, old: 0, new: 0 };
  for (let k = FIRST; ; k += STEP) {
    const { root, look } = await prepareSweep();
    const failed = await failOnce(root, k, code);
    const sees = look();
    const { services, stop } = await testDaemon(root, { disk: nodeDisk, yaml: SWEEP_YAML });
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

describe('publish, with the k-th disk operation failing', () => {
  afterEach(removeTempDirs);

  for (const code of ['EIO', 'ENOSPC', 'EACCES']) {
    it(`never shows half a snapshot, and publishes in the end: ${code}`, async function () {
      this.timeout(180_000);
      const { points, ...seen } = await sweep(code);
      console.info(`      ${points} points: ${seen.old} times old, ${seen.new} times new`);
      // The sweep has met both sides of the flip.
      expect(seen.old).to.be.greaterThan(20);
      expect(seen.new).to.be.greaterThan(2);
    });
  }
});
