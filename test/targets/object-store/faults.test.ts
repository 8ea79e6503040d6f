/**
 * A store that fails at any one request, in any way, or permanently: readers see the complete old or new
 * state; unpublished drops are published once by the next attempt.
 */
import { randomBytes } from 'node:crypto';
import { expect } from 'chai';
import { faultOf } from '#src/errors.js';
import type { StagedDrop } from '#src/publisher/target.js';
import type { ObjectStore } from '#src/targets/object-store/object-store.js';
import { openDouble } from '../../support/object-stores.js';
import { type DoubleObject, S3Double, type Trouble } from '../../support/s3-double.js';
import { checkStore, readStore, StorePublisher } from '../../support/store-publisher.js';
import { removeTempDirs } from '../../support/temp-dir.js';

const TROUBLES: readonly Trouble[] = [
  'cut before',
  'cut after',
  'silent after',
  'error after',
  503,
  409,
  412,
  403,
];

/** Every one in `npm run torture`. */
const STEP = process.env.DROPDOCK_TEST_POINTS === 'all' ? 1 : 3;

describe('objects: publishing to a failing store', function () {
  this.timeout(60_000);
  for (const kind of ['aws', 'radosgw'] as const) {
    describe(`(as ${kind})`, () => {
      let double: S3Double;
      let store: ObjectStore;
      let publisher: StorePublisher;
      let drop: StagedDrop;
      let objects: ReadonlyMap<string, DoubleObject>;
      beforeEach(async () => {
        double = await S3Double.start({ kind });
        store = await openDouble(double, { timeoutMs: 100 });
        publisher = await new StorePublisher(store).prepare();
        await publisher.publish(await publisher.stage('1'));
        drop = await publisher.stage('2');
        objects = new Map(double.objects);
      });
      afterEach(async () => {
        store.close();
        await double.stop();
        removeTempDirs();
      });

      /** @param isTroubled of which requests, counted from 0 @returns how many there were */
      async function publishAmid(
        trouble: Trouble,
        isTroubled: (at: number) => boolean,
      ): Promise<number> {
        double.objects.clear();
        for (const [key, object] of objects) double.objects.set(key, { ...object });
        // A process that remembers nothing.
        const roots = { roots: publisher.context.roots };
        const again = await new StorePublisher(store, roots).prepare();
        const views = new Set<string>();
        let count = 0;
        double.trouble = () => {
          views.add(checkStore(double).join());
          return isTroubled(count++) ? trouble : undefined;
        };
        const result = await again.publish(drop).catch((error) => {
          expect(faultOf(error), String(error)).to.equal('system');
          return undefined;
        });
        double.trouble = undefined;
        const requests = count;
        views.add(checkStore(double).join());
        if (result) expect(checkStore(double)).to.deep.equal(['1', '2']);
        // The drop comes again, for its receipt or for good; perhaps to another process.
        const last = await new StorePublisher(store, roots).prepare();
        const { outcomes } = await last.publish(drop);
        expect(outcomes[0]?.status).to.equal('published');
        expect(checkStore(double)).to.deep.equal(['1', '2']);
        expect(['1', '1,2']).to.include.members([...views]);
        const { history = [], generation } = readStore(double)?.pointer ?? {};
        const flips = history.filter(({ drops }) =>
          drops.some((each) => each.drop === drop.origin.drop),
        );
        expect(flips, 'published once').to.have.length(1);
        expect(generation).to.equal(2);
        return requests;
      }

      // What differs in the other is how conditions are refused.
      const troubles = kind === 'aws' ? TROUBLES : (['cut after', 412] as const);
      for (const trouble of troubles) {
        it(`succeeds or is retried after a failure at each request: ${trouble}`, async () => {
          const requests = await publishAmid(trouble, () => false);
          expect(requests).to.be.within(8, 20);
          for (let at = 0; at < requests; at += Math.min(STEP, 2)) {
            await publishAmid(trouble, (each) => each === at);
          }
        });
      }

      if (kind === 'radosgw') return;
      it('succeeds or is retried after a failure at each request of an upload in parts', async () => {
        // Nothing here is to end by its time.
        store.close();
        store = await openDouble(double, { timeoutMs: 20_000 });
        const large = randomBytes(4.5 * 1024 * 1024).toString('hex');
        drop = await publisher.stage('2', { layers: [large] });
        const isPart = (at: number) =>
          ['begin', 'part', 'end'].includes(double.requests.at(-1)?.what ?? '') && at >= 0;
        for (const trouble of ['cut before', 'error after'] as const) {
          for (let which = 0; which < 4; which += STEP) {
            let count = 0;
            await publishAmid(trouble, (at) => isPart(at) && count++ === which);
          }
        }
      });

      it('recovers from an outage that starts at any request', async () => {
        const requests = await publishAmid(503, () => false);
        for (let at = 0; at < requests; at += STEP) await publishAmid(503, (each) => each >= at);
      });
    });
  }
});
