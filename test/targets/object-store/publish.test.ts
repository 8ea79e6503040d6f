/** Publishing to an object store: what is written in which order, and what is not. */
import { expect } from 'chai';
import type { ObjectStore } from '#src/targets/object-store/object-store.js';
import { itPublishes } from '../../support/is-published-to.js';
import { openDouble } from '../../support/object-stores.js';
import { S3Double } from '../../support/s3-double.js';
import { checkStore, StorePublisher } from '../../support/store-publisher.js';
import { removeTempDirs } from '../../support/temp-dir.js';

for (const kind of ['aws', 'radosgw'] as const) {
  describe(`objects: publishing to a store (as ${kind})`, () => {
    let double: S3Double;
    let store: ObjectStore;
    let publisher: StorePublisher;
    beforeEach(async () => {
      double = await S3Double.start({ kind });
      store = await openDouble(double);
      publisher = await new StorePublisher(store).prepare();
    });
    afterEach(async () => {
      store.close();
      await double.stop();
      removeTempDirs();
    });
    const keys = () =>
      double.requests
        .filter(({ method, status }) => method === 'PUT' && status === 200)
        .map(({ key }) => key.replace('some/where/', '').replace(/(sha256:|\d{8}T).*/, '…'));

    itPublishes(() => store, {
      slow: kind === 'aws',
      wait: async (ms) => {
        double.nowMs = () => Date.now() + ms;
      },
    });

    it('writes content, then the snapshot, then the pointer, then the redirect file', async () => {
      const { outcomes } = await publisher.publish(await publisher.stage('1'));
      expect(outcomes[0]?.status).to.equal('published');
      const written = keys();
      expect(written.slice(-3)).to.deep.equal([
        'repos/team~app/…',
        'repos/team~app/current',
        'app/team~app.json',
      ]);
      expect(new Set(written.slice(0, -3))).to.deep.equal(new Set(['blobs/…', 'manifests/…']));
      expect(checkStore(double)).to.deep.equal(['1']);
    });

    it('writes only new content of a drop, and reads nothing it knows', async () => {
      // Twice: how this store wants its ETags is learnt with the second flip.
      await publisher.publish(await publisher.stage('1', { layers: ['base', 'one'] }));
      await publisher.publish(await publisher.stage('0', { layers: ['base', 'zero'] }));
      const drop = await publisher.stage('2', { layers: ['base', 'two'] });
      double.count();
      await publisher.publish(drop);
      expect(
        double.requests.filter(({ method, key }) => method === 'PUT' && key.includes('blobs/')),
      ).to.have.length(2);
      expect(keys().filter((key) => key === 'manifests/…')).to.have.length(2);
      const counts = double.count();
      expect(counts.get, 'the pointer').to.equal(1);
      expect(counts.head).to.equal(undefined);
      expect(checkStore(double)).to.deep.equal(['0', '1', '2']);
    });

    it('leaves the redirect file at the newest flip', async () => {
      await publisher.publish(await publisher.stage('1'));
      const redirect = () => JSON.parse(String(double.read('some/where/app/team~app.json')));
      double.trouble = ({ key, method }) =>
        method === 'PUT' && key.endsWith('app/team~app.json') ? 500 : undefined;
      const { outcomes, later } = await publisher.publish(await publisher.stage('2'));
      expect(outcomes[0]?.status).to.equal('published');
      expect(later).to.have.length(1);
      expect(redirect().schema2_data).not.to.include('2');
      double.trouble = undefined;
      await publisher.publish(await publisher.stage('2', {}, 'app:2@again'));
      expect(redirect().schema2_data).to.include('2');
    });
  });
}
