/**
 * Goal: no sequence of drops changes the resolution of a tag that no drop has moved: byte for byte,
 * including blobs, in the OCI form and in the Docker form, in a directory and on an object store. Method:
 * random drops of an attacker that tries to give one digest two meanings, with a cleaning without grace
 * period after every few drops. After each drop the tags are resolved as a client does. The seed is
 * printed; DROPDOCK_TEST_SEED repeats a run, DROPDOCK_TEST_DROPS sets its length.
 */

import { join } from 'node:path';
import { expect } from 'chai';
import { DropdockError } from '#src/errors.js';
import { prepareInbox } from '#src/inbox/claim.js';
import { nodeDisk } from '#src/storage/disk.js';
import { sweep } from '#src/targets/directory/sweep.js';
import { verifyContent, verifyRepository } from '#src/targets/directory/verify-tree.js';
import { cleanStore } from '#src/targets/object-store/clean-store.js';
import { verifyStore } from '#src/targets/object-store/inspect-store.js';
import { deliver, dropPath } from '../support/deliver.js';
import { type HostileDrop, HostileWorld, STABLE_TAGS } from '../support/hostile-drops.js';
import { openDouble } from '../support/object-stores.js';
import { makeRandom } from '../support/random.js';
import {
  changeOf,
  type Resolution,
  resolve,
  type Served,
  servedObjects,
  servedTree,
} from '../support/resolution.js';
import { S3Double } from '../support/s3-double.js';
import { testServices } from '../support/service.js';
import { APP, readStore, StorePublisher } from '../support/store-publisher.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';

const SEED = Number(process.env.DROPDOCK_TEST_SEED ?? Date.now() % 2 ** 31);
const DROPS = Number(process.env.DROPDOCK_TEST_DROPS ?? 150);
const HOUR = 3_600_000;

/** @returns 'published', 'unchanged', or the code it was refused with */
type Publish = (drop: HostileDrop) => Promise<string>;

interface Place {
  readonly publish: Publish;
  readonly clean: () => Promise<void>;
  readonly problems: () => Promise<readonly unknown[]>;
  readonly served: () => Served;
}

async function run(world: HostileWorld, place: Place, drops: number): Promise<Map<string, number>> {
  const outcomes = new Map<string, number>();
  const expected = new Map<string, Resolution>();
  for (let at = 0; at < drops; at++) {
    const drop = world.drop();
    const label = `drop ${at} (${drop.what}), seed ${SEED}`;
    const outcome = await place.publish(drop).catch((error) => {
      throw new Error(`${label}: ${error.message}`, { cause: error });
    });
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    if (at % 3 === 2) await place.clean();
    const served = place.served();
    const isTaken = outcome === 'published' || outcome === 'unchanged';
    for (const { tag } of isTaken ? drop.roots : []) {
      if (tag && !(expected.has(tag) && STABLE_TAGS.includes(tag))) expected.delete(tag);
    }
    for (const tag of served.tags()) {
      let now: Resolution;
      try {
        now = resolve(served, tag);
      } catch (error) {
        throw new Error(`${label}: ${(error as Error).message}`, { cause: error });
      }
      const before = expected.get(tag);
      if (before) expect(changeOf(before, now, served, tag), label).to.equal(undefined);
      expected.set(tag, now);
    }
    expect([...expected.keys()].sort(), label).to.deep.equal([...served.tags()].sort());
    if (at % 20 === 19) expect(await place.problems(), label).to.deep.equal([]);
  }
  expect(await place.problems()).to.deep.equal([]);
  return outcomes;
}

function expectVariety(outcomes: ReadonlyMap<string, number>): void {
  console.info(`      ${[...outcomes].map(([code, count]) => `${code} ${count}`).join(', ')}`);
  // Nothing is proved by drops that are all refused, or all taken.
  const all = [...outcomes.values()].reduce((a, b) => a + b, 0);
  expect(outcomes.get('published')).to.be.greaterThan(all / 10);
  expect(outcomes.get('manifest.ambiguous')).to.be.greaterThan(all / 10);
}

describe('one digest, one meaning', function () {
  this.timeout(60_000 + DROPS * 2000);
  const open: (() => unknown)[] = [];
  afterEach(async () => {
    for (const close of open.splice(0)) await close();
    removeTempDirs();
  });

  it(`holds in a directory through ${DROPS} drops (seed ${SEED})`, async () => {
    const root = tempDir();
    const yaml = "retention: {grace: 0s, keep: 1}\nrepositories: {app: {immutableTags: ['s*']}}\n";
    const services = await testServices(root, { disk: nodeDisk, yaml });
    open.push(() => services.close());
    const { roots, run: runJob } = services;
    await runJob(prepareInbox, { inbox: services.inbox });
    const world = new HostileWorld(makeRandom(SEED));
    const outcomes = await run(
      world,
      {
        publish: async (drop) => {
          const tag = drop.format === 'dir' ? drop.roots[0]?.tag : undefined;
          const name = tag ? `app:${tag}` : 'app';
          world.write(dropPath(root, name), drop);
          const outcome = await deliver(services, name);
          if (outcome?.status !== 'rejected') return outcome?.status ?? 'nothing';
          return (outcome.error as DropdockError).code;
        },
        clean: async () => {
          // What nothing needs is seen by one cleaning, and goes with a later one.
          for (const hours of [1, 2]) {
            const clock = { id: 'test', ms: hours * HOUR };
            await runJob(sweep, { roots, nowMs: Date.now() + hours * HOUR, clock, graceMs: 0 });
          }
        },
        problems: async () => [
          ...(await runJob(verifyRepository, { roots, id: 'app' as never })).findings,
          ...(await runJob(verifyContent, { roots })).findings,
        ],
        served: () => servedTree(join(root, 'published'), 'app'),
      },
      DROPS,
    );
    expectVariety(outcomes);
  });

  const storeDrops = Math.ceil(DROPS / 2);
  it(`holds on an object store through ${storeDrops} drops (seed ${SEED})`, async () => {
    const double = await S3Double.start();
    const store = await openDouble(double);
    open.push(
      () => store.close(),
      () => double.stop(),
    );
    let lateMs = 0;
    double.nowMs = () => Date.now() + lateMs;
    const publisher = await new StorePublisher(store, { nowMs: double.nowMs }).prepare();
    publisher.policy = { ...APP, immutableTags: ['s*'], keep: 1, graceMs: 0 };
    const world = new HostileWorld(makeRandom(SEED));
    let serial = 0;
    const outcomes = await run(
      world,
      {
        publish: async (drop) => {
          const path = join(publisher.root, 'drops', `hostile-${serial++}`);
          const tag = world.write(path, drop);
          try {
            const staged = await publisher.stageAt(path, `app@${serial}`, tag);
            const { outcomes: all } = await publisher.publish(staged);
            const [outcome] = all;
            if (outcome?.status !== 'rejected') return outcome?.status ?? 'nothing';
            throw outcome.error;
          } catch (error) {
            if (error instanceof DropdockError && error.fault === 'content') return error.code;
            throw error;
          }
        },
        clean: async () => {
          lateMs += 5 * HOUR;
          const policyOf = () => publisher.policy;
          const nonce = `n${serial}`;
          await cleanStore(publisher.context, { policyOf, graceMs: 0, dryRun: false, nonce });
        },
        problems: async () => {
          const pointer = readStore(double)?.pointer;
          if (pointer === undefined) return [];
          return (await verifyStore(publisher.context, pointer, new Set())).findings;
        },
        served: () => servedObjects(double, APP.id),
      },
      storeDrops,
    );
    expectVariety(outcomes);
  });
});
