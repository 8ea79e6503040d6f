/** Reading operations succeed beside publishers; and a manual change has the same effect on every target. */

import { join } from 'node:path';
import { expect } from 'chai';
import { prepareInbox } from '#src/inbox/claim.js';
import type { Edit } from '#src/publisher/target.js';
import { nodeDisk } from '#src/storage/disk.js';
import { verifyStore } from '#src/targets/object-store/inspect-store.js';
import type { ObjectStore } from '#src/targets/object-store/object-store.js';
import { deliver, dropPath } from '../../support/deliver.js';
import { makeLayout } from '../../support/make-image.js';
import { beforeEachCall, openDouble } from '../../support/object-stores.js';
import { readRepository } from '../../support/outside-reader.js';
import { makeRandom } from '../../support/random.js';
import { S3Double } from '../../support/s3-double.js';
import { testServices } from '../../support/service.js';
import { APP, readStore, StorePublisher } from '../../support/store-publisher.js';
import { removeTempDirs, tempDir } from '../../support/temp-dir.js';

describe('objects: a store with concurrent publishers', () => {
  let double: S3Double;
  let store: ObjectStore;
  let publisher: StorePublisher;
  beforeEach(async () => {
    double = await S3Double.start();
    store = await openDouble(double);
    publisher = await new StorePublisher(store).prepare();
  });
  afterEach(async () => {
    store.close();
    await double.stop();
    removeTempDirs();
  });

  /** Another image is published, and all that the first one alone had goes. */
  const replace = async () => {
    const before = new Set(double.objects.keys());
    publisher.policy = { ...APP, mode: 'replace' };
    await publisher.publish(await publisher.stage('2', { layers: ['two'] }));
    for (const key of before) {
      if (/blobs|manifests|repos.*json$/.test(key)) double.objects.delete(key);
    }
  };

  it('verify reads the current snapshot when it was replaced meanwhile', async () => {
    for (let moment = 1; ; moment++) {
      double.objects.clear();
      publisher = await new StorePublisher(store).prepare();
      await publisher.publish(await publisher.stage('1', { layers: ['one'] }));
      const { pointer } = readStore(double) ?? {};
      if (pointer === undefined) throw new Error('nothing is published');
      let calls = 0;
      const hooked = beforeEachCall(store, async () => {
        if (++calls === moment) await replace();
      });
      const context = { ...publisher.context, store: hooked };
      const { findings } = await verifyStore(context, pointer, new Set());
      expect(findings, `call ${moment}`).to.deep.equal([]);
      if (calls < moment) break;
    }
  }).timeout(60_000);

  it('verify still reports missing content of the current snapshot', async () => {
    await publisher.publish(await publisher.stage('1', { layers: ['one'] }));
    const { pointer } = readStore(double) ?? {};
    const [lost = ''] = [...double.objects.keys()].filter((key) => key.includes('blobs/'));
    double.objects.delete(lost);
    const { findings } = await verifyStore(publisher.context, pointer as never, new Set());
    expect(findings.map(({ problem, path }) => [problem, path])).to.deep.equal([
      ['missing', lost.replace('some/where/', '')],
    ]);
    double.objects.delete('some/where/app/team~app.json');
    const again = await verifyStore(publisher.context, pointer as never, new Set());
    expect(again.findings.map(({ path }) => path)).to.include('app/team~app.json');
  });

  const seed = Number(process.env.DROPDOCK_TEST_SEED ?? Date.now() % 1_000_000_000);
  it(`manual changes have the same result in a directory and in a store (seed ${seed})`, async () => {
    const root = tempDir();
    const yaml = 'retention: {grace: 1h, keep: 100}\n';
    const services = await testServices(root, { disk: nodeDisk, yaml });
    await services.run(prepareInbox, { inbox: services.inbox });
    const random = makeRandom(seed);
    const pick = (count: number) => Math.floor(random() * count);
    publisher.policy = { ...APP, keep: 100 };
    const done: string[] = [];
    const here = (edit: Edit) => services.targets.local.publish(publisher.policy, edit);
    const there = (edit: Edit) => publisher.change(edit);
    const tried = (work: Promise<unknown>) =>
      work.then(
        () => 'done',
        ({ code }: { code: string }) => code,
      );
    const both = async (edit: Edit) => {
      done.push(edit.kind);
      const [local, other] = [await tried(here(edit)), await tried(there(edit))];
      expect(other, done.join()).to.equal(local);
    };
    const publish = async (layer: string) => {
      done.push(layer);
      makeLayout(dropPath(root, 'team/app:1'), { layers: [layer] });
      await deliver(services, 'team/app:1');
      await publisher.publish(await publisher.stage('1', { layers: [layer] }));
    };
    const rollback = { kind: 'rollback', to: undefined } as const;
    const steps: (() => Promise<void>)[] = [
      () => publish('one'),
      () => publish('two'),
      () => both({ kind: 'remove' }),
      () => both(rollback),
      () => both(rollback),
    ];
    for (let n = 0; n < 25; n++) {
      const kind = pick(6);
      if (kind < 2) steps.push(() => publish(`layer ${pick(4)}`));
      else if (kind === 2) steps.push(() => both({ kind: 'remove' }));
      else if (kind === 3) steps.push(() => both({ kind: 'untag', tags: ['1'] }));
      else steps.push(() => both(rollback));
    }
    for (const step of steps) {
      await step();
      const local = readRepository(join(root, 'published'), 'team~app')?.tags ?? {};
      const { state } = readStore(double)?.snapshot ?? {};
      const other = [...(state?.tags ?? [])].map(([tag, { digest }]) => [tag, digest]);
      expect(Object.fromEntries(other), done.join()).to.deep.equal(local);
    }
    await services.close();
  }).timeout(60_000);
});
