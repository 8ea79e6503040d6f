/** All tests of stores and of publishing to them, on Ceph's RADOS Gateway. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import type { ObjectStore } from '#src/targets/object-store/object-store.js';
import { openStore } from '#src/targets/object-store/s3-store.js';
import { itIsAStore } from '../../support/is-a-store.js';
import { itPublishes } from '../../support/is-published-to.js';
import { GATEWAY_TOOLS, Gateway } from '../../support/radosgw.js';
import { makeRandom } from '../../support/random.js';
import { lookAtStore, StorePublisher } from '../../support/store-publisher.js';
import { tortureStore } from '../../support/store-torture.js';
import { itIsATarget } from '../../support/target-conformance.js';
import { storeUnderTest } from '../../support/targets-under-test.js';
import { removeTempDirs, tempDir } from '../../support/temp-dir.js';
import { needTools } from '../../support/tools.js';

const SEED = Number(process.env.DROPDOCK_TEST_SEED ?? Date.now() % 2 ** 31);

describe('objects: the RADOS Gateway', function () {
  this.timeout(120_000);
  let gateway: Gateway;
  let store: ObjectStore;
  let serial = 0;
  before(async function () {
    needTools(this, ...GATEWAY_TOOLS);
    const directory = join(tempDir(), 'gateway');
    mkdirSync(directory);
    gateway = await Gateway.start(directory);
  });
  after(async () => {
    await gateway?.stop();
    removeTempDirs();
  });

  async function openBucket(): Promise<ObjectStore> {
    const bucket = `bucket-${++serial}`;
    await gateway.makeBucket(bucket);
    return openStore(gateway.options(bucket));
  }

  describe('as a store', () => {
    before(async () => {
      store = await openBucket();
    });
    after(() => store.close());
    itIsAStore(() => store);
  });

  describe('as a target', () => {
    beforeEach(async () => {
      store = await openBucket();
    });
    afterEach(() => store.close());
    itIsATarget(() => storeUnderTest(store));
  });

  describe('as a publish destination', () => {
    beforeEach(async () => {
      store = await openBucket();
    });
    afterEach(() => store.close());
    itPublishes(() => store, { slow: true, wait: (ms) => delay(ms) });

    it('loses no tag when four publishers run at once and are killed', async () => {
      const random = makeRandom(SEED);
      const { kills } = await tortureStore({
        options: gateway.options(`bucket-${serial}`),
        publishers: 4,
        drops: 3,
        lifeMs: () => 1000 + random() * 3000,
        look: () => lookAtStore(store),
      });
      console.info(`        seed ${SEED}: killed ${kills} times`);
    });

    it('detects the ETag format at the second flip', async () => {
      const publisher = await new StorePublisher(store).prepare();
      await publisher.publish(await publisher.stage('1'));
      expect(publisher.context.memory.stripsQuotes).to.equal(false);
      await publisher.publish(await publisher.stage('2'));
      expect(publisher.context.memory.stripsQuotes).to.equal(true);
    });
  });
});
