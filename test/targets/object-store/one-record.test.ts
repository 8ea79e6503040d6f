/**
 * On a store as in a directory: the bytes of a manifest define its content. If a snapshot of an older
 * version has a different record, verify reports it, and no cleaning deletes what the bytes reference.
 */
import { gzipSync } from 'node:zlib';
import { expect } from 'chai';
import { nodeDisk } from '#src/storage/disk.js';
import { cleanStore } from '#src/targets/object-store/clean-store.js';
import { verifyStore } from '#src/targets/object-store/inspect-store.js';
import { IMMUTABLE } from '#src/targets/object-store/object-keys.js';
import type { ObjectStore } from '#src/targets/object-store/object-store.js';
import { StoreMemory } from '#src/targets/object-store/read-current.js';
import { restage } from '#src/targets/restage.js';
import { withRecord } from '../../support/harm-record.js';
import { layerBytes, sha256 } from '../../support/make-image.js';
import { openDouble } from '../../support/object-stores.js';
import { refusal } from '../../support/refusal.js';
import { S3Double } from '../../support/s3-double.js';
import { APP, readStore, StorePublisher } from '../../support/store-publisher.js';
import { removeTempDirs } from '../../support/temp-dir.js';

const HOUR = 3_600_000;
const LAYER = sha256(layerBytes('one'));

describe('objects: the record of a manifest', () => {
  let double: S3Double;
  let store: ObjectStore;
  let publisher: StorePublisher;
  let lateMs: number;
  let image: string;

  beforeEach(async () => {
    double = await S3Double.start();
    store = await openDouble(double);
    lateMs = 0;
    double.nowMs = () => Date.now() + lateMs;
    publisher = await newPublisher();
    publisher.policy = { ...APP, keep: 1, graceMs: 0 };
    const drop = await publisher.stage('1', { layers: ['one'] });
    await publisher.publish(drop);
    image = drop.content.roots[0]?.digest ?? '';
  });
  afterEach(async () => {
    store.close();
    await double.stop();
    removeTempDirs();
  });

  const current = () => {
    const found = readStore(double);
    if (found === undefined) throw new Error('nothing is published');
    return found.pointer;
  };
  const key = () => `repos/team~app/${current().snapshot}.json`;
  const text = () => double.read(`some/where/${key()}`) ?? Buffer.alloc(0);
  const problems = async () => {
    const { findings } = await verifyStore(publisher.context, current(), new Set());
    return findings.map(({ problem, path }) => `${problem} ${path}`);
  };
  /** As an older version left it: neither form of the image has its layer. */
  const loseLayer = async () => {
    const docker = JSON.parse(text().toString('utf8')).conversions[image];
    const without: Parameters<typeof withRecord>[2] = (record) => ({
      ...record,
      blobs: record.blobs.filter(({ digest }) => digest !== LAYER),
    });
    const harmed = withRecord(withRecord(text(), image, without), docker, without);
    const attributes = {
      contentType: 'application/json',
      cacheControl: IMMUTABLE,
      contentEncoding: 'gzip',
    } as const;
    await store.put(key(), gzipSync(harmed), attributes);
    // Snapshots never change, so what it remembers is not asked for again.
    Object.assign(publisher.context, { memory: new StoreMemory() });
  };
  const clean = (dryRun = false) =>
    cleanStore(publisher.context, {
      policyOf: () => publisher.policy,
      graceMs: 0,
      dryRun,
      nonce: `n${Math.random()}`,
    });

  const newPublisher = () =>
    new StorePublisher(store, {
      nowMs: double.nowMs,
      clock: () => ({ id: 'here', ms: performance.now() + lateMs }),
    }).prepare();
  /** What nothing needs is seen by one cleaning, and goes with a later one. */
  const seeUnused = async () => {
    lateMs += 10 * HOUR;
    await clean();
    lateMs += 10 * HOUR;
  };

  it('verify compares the record in the snapshot with the bytes', async () => {
    expect(await problems()).to.deep.equal([]);
    await loseLayer();
    expect(await problems()).to.include(`missing blobs/${LAYER}`);
    // Also where another repository had the same manifest, and was read before.
    const seen = new Set([`manifests/${image}`]);
    const { findings } = await verifyStore(publisher.context, current(), seen);
    expect(findings.map(({ detail }) => detail).join()).to.contain(image);
  });

  for (const where of ['from the content store', 'from the store'] as const) {
    it(`clean keeps what the bytes reference, read ${where}`, async () => {
      await loseLayer();
      await publisher.publish(await publisher.stage('2', { layers: ['two'] }));
      await publisher.publish(await publisher.stage('2', { layers: ['three'] }));
      await seeUnused();
      if (where === 'from the store') {
        const other = await newPublisher();
        other.policy = publisher.policy;
        publisher = other;
      }
      const isThere = (layer: string) => double.objects.has(`some/where/blobs/${layer}`);
      expect(isThere(LAYER)).to.equal(true);
      const planned = await clean(true);
      const done = await clean();
      expect(done.files).to.equal(planned.files).and.to.be.greaterThan(0);
      expect(isThere(sha256(layerBytes('two'))), 'nothing names it').to.equal(false);
      expect(isThere(LAYER)).to.equal(true);
      // The next cleaning does not read again what it knows, and still leaves it.
      await clean();
      expect(isThere(LAYER)).to.equal(true);
    });
  }

  it('clean reads each manifest once', async () => {
    const other = await newPublisher();
    const policyOf = () => publisher.policy;
    const cleanAndCount = async (nonce: string) => {
      lateMs += 10 * HOUR;
      const from = double.requests.length;
      await cleanStore(other.context, { policyOf, graceMs: 0, dryRun: false, nonce });
      const asked = double.requests.slice(from);
      return asked.filter(
        ({ method, key: each }) => method === 'GET' && /manifests\/sha/.test(each),
      );
    };
    await publisher.publish(await publisher.stage('2', { layers: ['two'] }));
    await publisher.publish(await publisher.stage('2', { layers: ['three'] }));
    expect(await cleanAndCount('a'), 'nothing is to be deleted yet').to.have.length(0);
    // Two images, in two forms.
    expect(await cleanAndCount('b')).to.have.length(4);
    await publisher.publish(await publisher.stage('2', { layers: ['four'] }));
    expect(await cleanAndCount('c')).to.have.length(0);
    expect(await cleanAndCount('d')).to.have.length(2);
  });

  it('clean restarts once when reading manifests uses up its time', async () => {
    await publisher.publish(await publisher.stage('1', { layers: ['two'] }));
    await seeUnused();
    // Two looks at the clock: when it begins, and when it has read them.
    let looks = 0;
    const { longestMs } = publisher.context;
    const monotonicMs = () => (looks++ === 1 ? 2 * longestMs : 0);
    const context = { ...publisher.context, monotonicMs };
    const { files, stopped } = await cleanStore(context, {
      policyOf: () => publisher.policy,
      graceMs: 0,
      dryRun: false,
      nonce: 'n',
    });
    expect(stopped).to.equal(undefined);
    expect(files).to.be.greaterThan(0);
  });

  it('copy rejects a manifest whose name is not its digest', async () => {
    const { roots } = publisher.context;
    const wrong = sha256('another');
    const harmed = text().toString('utf8').replaceAll(image, wrong);
    const named = withRecord(Buffer.from(harmed), wrong, (record) => ({
      ...record,
      stored: image as never,
    }));
    const source = { snapshot: current().snapshot, text: named };
    expect(refusal(() => restage(nodeDisk, { roots, source })).code).to.equal('digest.mismatch');
    const own = { snapshot: current().snapshot, text: text() };
    expect(restage(nodeDisk, { roots, source: own }).manifests).to.have.length(1);
  });
});
