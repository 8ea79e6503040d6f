/** Publishing to an object store: what is written in which order, and what is not. */
import { expect } from 'chai';
import type { ObjectStore } from '#src/objects/store.js';
import { openDouble } from '../support/object-stores.js';
import { S3Double } from '../support/s3-double.js';
import { APP, checkStore, readStore, StorePublisher } from '../support/store-publisher.js';
import { removeTempDirs } from '../support/temp-dir.js';

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

    it('puts content, then the snapshot, then the pointer, then the redirect file', async () => {
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

    it('puts only what a drop brings, and reads nothing it knows', async () => {
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

    it('changes nothing for what is there', async () => {
      const options = { layers: ['same'] };
      await publisher.publish(await publisher.stage('1', options));
      const before = readStore(double)?.pointer;
      const again = await publisher.publish(await publisher.stage('1', options, 'app:1@again'));
      expect(again.outcomes[0]).to.include({ status: 'unchanged', snapshot: before?.snapshot });
      expect(readStore(double)?.pointer).to.deep.equal(before);
    });

    it('knows a drop whose flip is done, whatever came since', async () => {
      const drop = await publisher.stage('1');
      await publisher.publish(drop);
      const first = readStore(double)?.pointer.snapshot;
      await publisher.change({ edit: { kind: 'untag', tags: ['1'] }, restored: undefined });
      const { outcomes } = await publisher.publish(drop, await publisher.stage('2'));
      expect(outcomes[0]).to.include({ status: 'published', snapshot: first });
      expect(outcomes[1]?.status).to.equal('published');
      expect(checkStore(double)).to.deep.equal(['2']);
    });

    it('refuses what the settings forbid, and publishes the rest', async () => {
      await publisher.publish(await publisher.stage('v1'));
      publisher.policy = { ...APP, immutableTags: ['v*'] };
      const moved = await publisher.stage('v1', { layers: ['moved'] });
      const { outcomes } = await publisher.publish(moved, await publisher.stage('2'));
      expect(outcomes.map(({ status }) => status)).to.deep.equal(['rejected', 'published']);
      expect(checkStore(double)).to.deep.equal(['2', 'v1']);
    });

    it('replaces, and carries on what was there', async () => {
      await publisher.publish(await publisher.stage('1'));
      publisher.policy = { ...APP, mode: 'replace' };
      await publisher.publish(await publisher.stage('2'));
      expect(checkStore(double)).to.deep.equal(['2']);
      expect(readStore(double)?.snapshot.state.carried.size).to.be.greaterThan(0);
    });

    it('merges what two publishers bring at once', async () => {
      const other = await new StorePublisher(await openDouble(double)).prepare();
      for (let round = 0; round < 5; round++) {
        const drops = [await publisher.stage(`a${round}`), await other.stage(`b${round}`)] as const;
        await Promise.all([publisher.publish(drops[0]), other.publish(drops[1])]);
      }
      expect(checkStore(double)).to.have.length(10);
      const { history = [] } = readStore(double)?.pointer ?? {};
      const names = history.map(({ snapshot }) => snapshot);
      expect(names)
        .to.deep.equal([...new Set(names)].sort())
        .and.have.length(10);
    });

    it('keeps the redirect file at the newest flip', async () => {
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

    it('grows whatever its clock says', async () => {
      await publisher.publish(await publisher.stage('1'));
      const slow = new StorePublisher(store, { nowMs: () => Date.now() - 86_400_000 });
      await (await slow.prepare()).publish(await slow.stage('2'));
      const { history = [] } = readStore(double)?.pointer ?? {};
      expect(history.map(({ snapshot }) => snapshot)).to.deep.equal(
        history.map(({ snapshot }) => snapshot).sort(),
      );
      expect(checkStore(double)).to.deep.equal(['1', '2']);
    });
  });
}
