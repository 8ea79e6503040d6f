/** Goal: every kind of target passes the same suite, and all behave alike in random histories. */
import type { ObjectStore } from '#src/targets/object-store/object-store.js';
import { openDouble } from '../support/object-stores.js';
import { S3Double } from '../support/s3-double.js';
import type { TestServices } from '../support/service.js';
import { agreeOnHistories, itIsATarget } from '../support/target-conformance.js';
import {
  directoryUnderTest,
  memoryUnderTest,
  storeUnderTest,
} from '../support/targets-under-test.js';
import { removeTempDirs } from '../support/temp-dir.js';

describe('the targets', () => {
  const services: TestServices[] = [];
  let double: S3Double;
  let store: ObjectStore;
  beforeEach(async () => {
    double = await S3Double.start();
    store = await openDouble(double);
  });
  afterEach(async () => {
    for (const each of services.splice(0)) await each.close();
    store.close();
    await double.stop();
    removeTempDirs();
  });

  describe('a directory', () => itIsATarget(() => directoryUnderTest(services)));
  describe('an object store', () => itIsATarget(() => storeUnderTest(store)));
  describe('memory', () => itIsATarget(memoryUnderTest));

  agreeOnHistories(
    async () => [
      await directoryUnderTest(services),
      await storeUnderTest(store),
      await memoryUnderTest(),
    ],
    { seeds: [1, 2, 3, 264_926, Date.now() % 1_000_000], steps: 40 },
  );
});
