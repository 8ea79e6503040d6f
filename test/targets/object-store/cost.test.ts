/** The requests of a publish to a store are counted, and agree with docs/reach.md. */
import { expect } from 'chai';
import { parseRepositoryName, type RepositoryId } from '#src/image/names.js';
import type { ObjectStore } from '#src/targets/object-store/object-store.js';
import { openDouble } from '../../support/object-stores.js';
import { S3Double } from '../../support/s3-double.js';
import { APP, StorePublisher } from '../../support/store-publisher.js';
import { removeTempDirs } from '../../support/temp-dir.js';

/** 1,000 and 50 in `npm run torture`. */
const REPOSITORIES = Number(process.env.DROPDOCK_TEST_REPOSITORIES ?? 20);
const PUBLISHERS = Math.max(5, REPOSITORIES / 20);
const ROUNDS = 3;

describe('objects: the cost of a publish', function () {
  this.timeout(60_000 + REPOSITORIES * 2000);
  let double: S3Double;
  let store: ObjectStore;
  beforeEach(async () => {
    double = await S3Double.start();
    // All in one process, the store too: its answers wait for images that are made.
    store = await openDouble(double, { timeoutMs: 120_000 });
  });
  afterEach(async () => {
    store.close();
    await double.stop();
    removeTempDirs();
  });

  it('is the same for a large repository and a small one', async () => {
    const publisher = await new StorePublisher(store).prepare();
    const counts: unknown[] = [];
    for (let at = 0; at < 12; at++) {
      const drop = await publisher.stage(`${at}`, { layers: ['base', `own ${at}`] });
      double.count();
      await publisher.publish(drop);
      counts.push(double.count());
    }
    // Pointer; config, layer, manifest in two forms; snapshot, pointer, redirect file.
    const steady = { get: 1, put: 4 + 3 };
    expect(counts.slice(1)).to.deep.equal(Array.from({ length: 11 }, () => steady));
    const same = await publisher.stage('11', { layers: ['base', 'own 11'] }, 'again');
    double.count();
    await publisher.publish(same);
    expect(double.count(), 'nothing changed').to.deep.equal({ get: 1 });
  });

  it(`matches the total for ${REPOSITORIES} repositories and ${PUBLISHERS} publishers`, async () => {
    const publishers = await Promise.all(
      Array.from({ length: PUBLISHERS }, () => new StorePublisher(store).prepare()),
    );
    let seconds = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const startedMs = performance.now();
      await Promise.all(
        publishers.map(async (publisher, who) => {
          for (let at = 0; at < REPOSITORIES; at++) {
            // Each time another publisher.
            if ((at + round) % PUBLISHERS !== who) continue;
            const drop = await publisher.stage(`${round}`, { layers: [`${at} ${round}`] });
            const name = `team/r${at}`;
            const id = `team~r${at}` as RepositoryId;
            publisher.policy = { ...APP, repository: parseRepositoryName(name), id };
            await publisher.publish(drop);
          }
        }),
      );
      seconds += (performance.now() - startedMs) / 1000;
    }
    const later = REPOSITORIES * (ROUNDS - 1);
    expect(double.count()).to.deep.equal({
      // A pointer that is new to the publisher brings its snapshot with it, and each publisher asks once for
      // the ages that the last cleaning knew,
      get: REPOSITORIES + 2 * later + PUBLISHERS,
      put: REPOSITORIES * ROUNDS * (4 + 3),
      // and the redirect file is asked for its number.
      head: REPOSITORIES * ROUNDS,
    });
    const each = ((seconds / (REPOSITORIES * ROUNDS)) * 1000).toFixed(1);
    console.info(`      ${REPOSITORIES * ROUNDS} publishes, ${each} ms each, one process for all`);
  });
});
