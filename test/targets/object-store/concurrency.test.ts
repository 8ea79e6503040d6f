/** I7 on a store: publishers that run at once, die or fail lose no tag. */
import { expect } from 'chai';
import { doubleOptions } from '../../support/object-stores.js';
import { makeRandom } from '../../support/random.js';
import { S3Double, type Trouble } from '../../support/s3-double.js';
import { checkStore, readStore } from '../../support/store-publisher.js';
import { tortureStore } from '../../support/store-torture.js';
import { removeTempDirs } from '../../support/temp-dir.js';

/** 500 in `npm run torture`. */
const MERGES = Number(process.env.DROPDOCK_TEST_MERGES ?? 16);
const SEED = Number(process.env.DROPDOCK_TEST_SEED ?? Date.now() % 2 ** 31);

const TROUBLES: readonly Trouble[] = [
  'cut before',
  'cut after',
  'error after',
  'silent after',
  409,
  412,
  500,
  503,
];

describe('objects: several publishers of one repository', function () {
  this.timeout(120_000 + MERGES * 2000);
  let double: S3Double;
  beforeEach(async () => {
    double = await S3Double.start({ kind: 'radosgw' });
  });
  afterEach(async () => {
    await double.stop();
    removeTempDirs();
  });

  it('lose no tag while killed and with failing requests', async () => {
    const random = makeRandom(SEED);
    double.trouble = () =>
      random() < 0.05 ? TROUBLES[Math.floor(random() * TROUBLES.length)] : undefined;
    const { kills, looks } = await tortureStore({
      options: doubleOptions(double, { timeoutMs: 300 }),
      publishers: 4,
      drops: MERGES / 4,
      lifeMs: () => 100 + random() * 900,
      look: async () => {
        await new Promise((resolve) => setTimeout(resolve, 5));
        return { tags: checkStore(double), pointer: readStore(double)?.pointer };
      },
    });
    expect(looks, `seed ${SEED}`).to.be.greaterThan(10);
    console.info(`      seed ${SEED}: killed ${kills} times, looked ${looks} times`);
  });
});
