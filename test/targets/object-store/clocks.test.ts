/**
 * I9 on a store, with any clock: content that was current stays available until the grace period has
 * really passed, and not forever afterwards. Method: random histories of publishes and cleanings by two
 * hosts that restart now and then, while their wall clocks and the store's are set back, set forward and
 * corrected.
 */
import { expect } from 'chai';
import type { Digest } from '#src/image/digest.js';
import { liveManifests } from '#src/repository/merge.js';
import { cleanStore } from '#src/targets/object-store/clean-store.js';
import type { ObjectStore } from '#src/targets/object-store/object-store.js';
import { StoreMemory } from '#src/targets/object-store/read-current.js';
import { openDouble } from '../../support/object-stores.js';
import { makeRandom } from '../../support/random.js';
import { S3Double } from '../../support/s3-double.js';
import { APP, checkStore, readStore, StorePublisher } from '../../support/store-publisher.js';
import { removeTempDirs } from '../../support/temp-dir.js';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const HISTORIES = Number(process.env.DROPDOCK_TEST_HISTORIES ?? 8);
const STEPS = 14;
const LONGEST = 10 * MINUTE;

describe('the grace period on a store', () => {
  const seed = Number(process.env.DROPDOCK_TEST_SEED ?? Date.now() % 1_000_000_000);
  let double: S3Double;
  let store: ObjectStore;
  let realMs: number;
  let storeOffMs: number;
  /** When each key was of use last to a client that began then. */
  let lastServedMs: Map<string, number>;

  beforeEach(async () => {
    realMs = Date.now();
    storeOffMs = 0;
    lastServedMs = new Map();
    double = await S3Double.start();
    double.nowMs = () => realMs + storeOffMs;
    store = await openDouble(double);
  });
  afterEach(async () => {
    store.close();
    await double.stop();
    removeTempDirs();
  });

  class Host {
    offMs = 0;
    #boot = '';
    #startedMs = 0;
    publisher!: StorePublisher;

    async start(random: () => number): Promise<this> {
      this.#boot = `boot ${random()}`;
      this.#startedMs = realMs - Math.floor(random() * 100) * HOUR;
      this.publisher ??= await new StorePublisher(store, {
        longestMs: LONGEST,
        nowMs: () => realMs + this.offMs,
        clock: () => ({ id: this.#boot, ms: realMs - this.#startedMs }),
        monotonicMs: () => realMs,
      }).prepare();
      this.publisher.policy = { ...APP, mode: 'replace', keep: 1 };
      Object.assign(this.publisher.context, { memory: new StoreMemory() });
      return this;
    }
  }

  const clean = ({ context, policy }: StorePublisher) =>
    cleanStore(context, {
      policyOf: () => policy,
      graceMs: HOUR,
      dryRun: false,
      nonce: `n${Math.random()}`,
    });
  const remember = () => {
    const found = readStore(double);
    if (found === undefined) return;
    const { pointer, snapshot } = found;
    lastServedMs.set(`repos/${APP.id}/${pointer.snapshot}.json`, realMs);
    for (const digest of liveManifests(snapshot.state)) {
      const record = snapshot.state.manifests.get(digest as Digest);
      lastServedMs.set(`manifests/${record?.stored ?? digest}`, realMs);
      for (const blob of record?.blobs ?? []) lastServedMs.set(`blobs/${blob.digest}`, realMs);
    }
  };
  const check = () => {
    checkStore(double, undefined, 'live only');
    for (const [key, lastMs] of lastServedMs) {
      const leftMs = lastMs + HOUR - realMs;
      if (leftMs <= 0 || double.objects.has(`some/where/${key}`)) continue;
      throw new Error(`${key} is gone ${leftMs / MINUTE} min early`);
    }
  };
  const live = async (random: () => number) => {
    const pick = (count: number) => Math.floor(random() * count);
    const hosts = [await new Host().start(random), await new Host().start(random)];
    for (let step = 0; step < STEPS; step++) {
      realMs += pick(3) === 0 ? pick(90) * MINUTE : pick(5 * MINUTE);
      const host = hosts[pick(2)] as Host;
      const off = (pick(2) === 0 ? -1 : 1) * pick(100) * HOUR;
      const kind = pick(8);
      if (kind < 2) host.offMs = off;
      if (kind === 2) host.offMs = 0;
      if (kind === 3) storeOffMs = off;
      if (kind === 4) storeOffMs = 0;
      if (kind === 5) await host.start(random);
      remember();
      if (pick(2) === 0) await clean(host.publisher);
      else {
        const tag = String(pick(2));
        const layers = ['base', `layer ${pick(4)}`];
        await host.publisher.publish(await host.publisher.stage(tag, { layers }));
      }
      check();
      remember();
    }
    return hosts[0] as Host;
  };

  it(`is never shortened by a clock change (seed ${seed})`, async () => {
    for (let n = 0; n < HISTORIES; n++) {
      try {
        await live(makeRandom(seed + n));
      } catch (error) {
        throw new Error(`seed ${seed + n}: ${(error as Error).message}`, { cause: error });
      }
      double.objects.clear();
      lastServedMs.clear();
    }
  }).timeout(HISTORIES * 20_000);

  it(`ends, whatever times clocks showed before (seed ${seed})`, async () => {
    const host = await live(makeRandom(seed));
    storeOffMs = 0;
    // What was put while the store's clock was ahead is young until then.
    for (let n = 0; n < 30; n++) {
      realMs += 12 * HOUR;
      await clean(host.publisher);
    }
    const keys = (prefix: string) =>
      [...double.objects.keys()].filter((key) => key.startsWith(`some/where/${prefix}`));
    expect(keys('repos/'), 'pointer and snapshot').to.have.length(2);
    const { state } = readStore(double)?.snapshot ?? {};
    expect(keys('manifests/')).to.have.length(state ? liveManifests(state).size : 0);
  });
});
