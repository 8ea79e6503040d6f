/** Cleaning a store: what is removed, what is kept, and that no running publisher fails. */
import { expect } from 'chai';
import { cleanStore } from '#src/targets/object-store/clean-store.js';
import type { ObjectStore } from '#src/targets/object-store/object-store.js';
import { beforeEachCall, openDouble, TEXT } from '../../support/object-stores.js';
import { S3Double } from '../../support/s3-double.js';
import { APP, checkStore, readStore, StorePublisher } from '../../support/store-publisher.js';
import { removeTempDirs } from '../../support/temp-dir.js';

const HOUR = 3_600_000;

interface CleanGiven {
  dryRun?: boolean;
  context?: StorePublisher['context'];
}

describe('objects: cleaning a store', () => {
  let double: S3Double;
  let store: ObjectStore;
  let publisher: StorePublisher;
  let lateMs: number;
  beforeEach(async () => {
    double = await S3Double.start();
    store = await openDouble(double);
    lateMs = 0;
    double.nowMs = () => Date.now() + lateMs;
    publisher = await newPublisher();
    publisher.policy = { ...APP, mode: 'replace', keep: 1 };
  });
  afterEach(async () => {
    store.close();
    await double.stop();
    removeTempDirs();
  });

  const newPublisher = () =>
    new StorePublisher(store, {
      nowMs: () => Date.now() + lateMs,
      clock: () => ({ id: 'here', ms: performance.now() + lateMs }),
    }).prepare();
  const clean = ({ context = publisher.context, ...more }: CleanGiven = {}) =>
    cleanStore(context, {
      policyOf: () => publisher.policy,
      graceMs: HOUR,
      dryRun: false,
      nonce: `n${Math.random()}`,
      ...more,
    });
  const keys = (prefix: string) =>
    [...double.objects.keys()].filter((key) => key.startsWith(`some/where/${prefix}`));

  it('keeps content that is current, retained, in grace or recent', async () => {
    await publisher.publish(await publisher.stage('1'));
    await publisher.publish(await publisher.stage('2'));
    lateMs = 5 * HOUR;
    await publisher.publish(await publisher.stage('3'));
    // 2 was current until now, so it is carried; 1 is over, and seen unused for the first time.
    const before = keys('blobs/').length;
    expect(await clean()).to.include({ files: 0, stopped: undefined });
    expect(keys('repos/')).to.have.length(3);
    lateMs = 8 * HOUR - 1000;
    expect((await clean()).files, 'a publisher may rely on it').to.equal(0);
    lateMs = 8 * HOUR;
    // Config, layer, and the manifest in both forms.
    expect((await clean()).files).to.equal(4);
    expect(keys('blobs/')).to.have.length(before - 2);
    expect(checkStore(double)).to.deep.equal(['3']);
    lateMs = 12 * HOUR;
    await clean();
    expect(checkStore(double, undefined, 'live only')).to.deep.equal(['3']);
    expect(keys('blobs/')).to.have.length(2);
    expect(keys('manifests/')).to.have.length(2);
    expect(keys('repos/'), 'pointer and snapshot').to.have.length(2);
  });

  it('reports what it would remove, and removes nothing', async () => {
    await publisher.publish(await publisher.stage('1'));
    await publisher.publish(await publisher.stage('2'));
    lateMs = 10 * HOUR;
    const before = [...double.objects.keys()];
    const planned = await clean({ dryRun: true });
    expect([...double.objects.keys()]).to.deep.equal(before);
    const done = await clean();
    expect(done.repositories).to.deep.equal(planned.repositories);
    expect(done.repositories[0]?.snapshots.map(({ rule }) => rule)).to.deep.equal([
      'current',
      'stale',
    ]);
    lateMs = 14 * HOUR;
    const { files } = await clean({ dryRun: true });
    expect(files)
      .to.equal((await clean()).files)
      .and.to.equal(4);
  });

  it('deletes nothing when a retained snapshot cannot be read', async () => {
    await publisher.publish(await publisher.stage('1'));
    await store.put('blobs/sha256:'.concat('a'.repeat(64)), Buffer.from('old'), TEXT);
    const { snapshot } = readStore(double)?.pointer ?? {};
    double.objects.delete(`some/where/repos/team~app/${snapshot}.json`);
    lateMs = 10 * HOUR;
    const error = await clean().catch((thrown) => thrown);
    expect(error.code).to.equal('target.damaged');
    expect(keys('blobs/')).to.have.length(3);
  });

  it('allows a publisher to use an object again that it is about to delete', async () => {
    // Whatever the moment at which the publisher comes: at every second of the cleaning's requests.
    for (let moment = 0; ; moment += 2) {
      const old = await publisher.stage('old', { layers: [`layer ${moment}`] });
      await publisher.publish(old);
      await publisher.publish(await publisher.stage('new'));
      lateMs += 10 * HOUR;
      await clean();
      lateMs += 4 * HOUR;
      const other = await newPublisher();
      other.policy = publisher.policy;
      const again = await other.stage('again', { layers: [`layer ${moment}`] });
      let count = -1;
      let publishing: Promise<unknown> | undefined;
      const hooked = beforeEachCall(store, async () => {
        if (++count !== moment) return;
        publishing = other.publish(again);
        // It gets as far as it can: to its end, or to where it waits for the cleaning.
        await Promise.race([publishing, new Promise((resolve) => setTimeout(resolve, 60))]);
      });
      await clean({ context: { ...publisher.context, store: hooked } });
      if (publishing === undefined) break;
      await publishing;
      expect(checkStore(double, undefined, 'live only'), `moment ${moment}`).to.deep.equal([
        'again',
      ]);
    }
  }).timeout(60_000);
});
