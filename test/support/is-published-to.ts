/** The promises of publishing to an object store, as tests that run on any store. */
import { randomBytes } from 'node:crypto';
import { expect } from 'chai';
import { cleanStore } from '#src/targets/object-store/clean-store.js';
import type { ObjectStore } from '#src/targets/object-store/object-store.js';
import { probeStore } from '#src/targets/object-store/probe-store.js';
import { beforeEachCall } from './object-stores.js';
import { APP, lookAtStore, StorePublisher } from './store-publisher.js';

/**
 * @param open an empty one, the same for all of one test
 * @param slow also what sends megabytes
 * @param wait until the store's clock has gone on by so much (ms)
 */
export function itPublishes(
  open: () => ObjectStore,
  { slow, wait }: { slow: boolean; wait: (ms: number) => Promise<void> },
): void {
  let publisher: StorePublisher;
  const look = () => lookAtStore(open());
  beforeEach(async () => {
    publisher = await new StorePublisher(open()).prepare();
  });

  it('passes the probe', async () => {
    await probeStore(publisher.context, 'nonce');
    const keys: string[] = [];
    for await (const { objects } of open().list('')) keys.push(...objects.map(({ key }) => key));
    expect(keys).to.deep.equal([]);
  });

  it('changes nothing for a drop that is already published', async () => {
    const options = { layers: ['same'] };
    await publisher.publish(await publisher.stage('1', options));
    const before = (await look()).pointer;
    const again = await publisher.publish(await publisher.stage('1', options, 'app:1@again'));
    expect(again.outcomes[0]).to.include({ status: 'unchanged', snapshot: before?.snapshot });
    expect((await look()).pointer).to.deep.equal(before);
  });

  it('recognises a drop that was already flipped, whatever was published since', async () => {
    const drop = await publisher.stage('1');
    await publisher.publish(drop);
    const first = (await look()).pointer?.snapshot;
    await publisher.change({ kind: 'untag', tags: ['1'] });
    const { outcomes } = await publisher.publish(drop, await publisher.stage('2'));
    expect(outcomes[0]).to.include({ status: 'published', snapshot: first });
    expect(outcomes[1]?.status).to.equal('published');
    expect((await look()).tags).to.deep.equal(['2']);
  });

  it('rejects drops that the settings forbid, and publishes the others', async () => {
    await publisher.publish(await publisher.stage('v1'));
    publisher.policy = { ...APP, immutableTags: ['v*'] };
    const moved = await publisher.stage('v1', { layers: ['moved'] });
    const { outcomes } = await publisher.publish(moved, await publisher.stage('2'));
    expect(outcomes.map(({ status }) => status)).to.deep.equal(['rejected', 'published']);
    expect((await look()).tags).to.deep.equal(['2', 'v1']);
  });

  it('replaces content, and keeps the previous content for grace', async () => {
    await publisher.publish(await publisher.stage('1'));
    publisher.policy = { ...APP, mode: 'replace' };
    await publisher.publish(await publisher.stage('2'));
    expect((await look()).tags).to.deep.equal(['2']);
    expect((await look()).state?.carried.size).to.be.greaterThan(0);
  });

  it('merges concurrent drops of two publishers', async () => {
    const other = await new StorePublisher(open()).prepare();
    for (let round = 0; round < 5; round++) {
      const drops = [await publisher.stage(`a${round}`), await other.stage(`b${round}`)] as const;
      await Promise.all([publisher.publish(drops[0]), other.publish(drops[1])]);
    }
    expect((await look()).tags).to.have.length(10);
    const { history = [] } = (await look()).pointer ?? {};
    const names = history.map(({ snapshot }) => snapshot);
    expect(names)
      .to.deep.equal([...new Set(names)].sort())
      .and.have.length(10);
  });

  it('increases snapshot names whatever its clock says', async () => {
    await publisher.publish(await publisher.stage('1'));
    const slow = new StorePublisher(open(), { nowMs: () => Date.now() - 86_400_000 });
    await (await slow.prepare()).publish(await slow.stage('2'));
    const { history = [] } = (await look()).pointer ?? {};
    expect(history.map(({ snapshot }) => snapshot)).to.deep.equal(
      history.map(({ snapshot }) => snapshot).sort(),
    );
    expect((await look()).tags).to.deep.equal(['1', '2']);
  });

  it('rolls back, untags and removes', async () => {
    await publisher.publish(await publisher.stage('1'));
    const [first] = (await look()).pointer?.history ?? [];
    await publisher.publish(await publisher.stage('2'));
    await publisher.change({ kind: 'untag', tags: ['1'] });
    expect((await look()).tags).to.deep.equal(['2']);
    const back = await publisher.change({ kind: 'rollback', to: undefined });
    expect((await look()).tags).to.deep.equal(['1', '2']);
    expect(back.snapshot).not.to.equal(null);
    await publisher.change({ kind: 'rollback', to: first?.snapshot });
    expect((await look()).tags).to.deep.equal(['1']);
    await publisher.change({ kind: 'remove' });
    expect((await look()).pointer).to.include({ removed: true, tags: 0, generation: 6 });
    await publisher.publish(await publisher.stage('3'));
    expect((await look()).tags).to.deep.equal(['3']);
    const error = await publisher
      .change({ kind: 'untag', tags: ['9'] })
      .catch((failure) => failure);
    expect(error.code).to.equal('tag.unknown');
  });

  it('shows a reader old or new state at each request of a publish', async () => {
    await publisher.publish(await publisher.stage('1'));
    const seen = new Set<string>();
    const watched = beforeEachCall(open(), async () => {
      seen.add((await look()).tags.join());
    });
    const other = await new StorePublisher(watched).prepare();
    await other.publish(await other.stage('2'));
    expect([...seen]).to.deep.equal(['1', '1,2']);
  });

  if (!slow) return;
  it('uploads large blobs in parts, each part once', async () => {
    const large = randomBytes(4.5 * 1024 * 1024).toString('hex');
    const drop = await publisher.stage('1', { layers: [large] });
    await publisher.publish(drop);
    const other = await new StorePublisher(open()).prepare();
    await other.publish(await other.stage('2', { layers: [large] }));
    expect((await look()).tags).to.deep.equal(['1', '2']);
    for await (const page of open().listUploads()) expect(page).to.deep.equal([]);
  });

  it('is cleaned of unused content', async function () {
    this.timeout(30_000);
    publisher.policy = { ...APP, mode: 'replace', keep: 1, graceMs: 0 };
    const rules = { policyOf: () => publisher.policy, graceMs: 0, dryRun: false };
    let waitedMs = 0;
    const clock = () => ({ id: 'here', ms: performance.now() + waitedMs });
    const brief = { ...publisher.context, longestMs: 500, clock };
    await publisher.publish(await publisher.stage('1'));
    await publisher.publish(await publisher.stage('2'));
    expect((await cleanStore(brief, { ...rules, nonce: 'a' })).files, 'young').to.equal(0);
    // By the store's clock, in whole seconds.
    await wait(3000);
    waitedMs = 3000;
    const { files, stopped } = await cleanStore(brief, { ...rules, nonce: 'b' });
    expect({ files, stopped }).to.deep.equal({ files: 4, stopped: undefined });
    expect((await look()).tags).to.deep.equal(['2']);
  });
}
