/** The targets on which the conformance suite runs. */

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { StagingContext } from '#src/publisher/stage-drop.js';
import { stageDrop } from '#src/publisher/stage-drop.js';
import { toTimestamp } from '#src/repository/timestamp.js';
import { stage as stageJob } from '#src/staging/stage.js';
import { nodeDisk } from '#src/storage/disk.js';
import { begin } from '#src/storage/transaction.js';
import type { ObjectStore } from '#src/targets/object-store/object-store.js';
import { makeLayout } from './make-image.js';
import { MemoryTarget } from './memory-target.js';
import { handsOf, setClock, type TestServices, testServices } from './service.js';
import { StorePublisher } from './store-publisher.js';
import type { TargetUnderTest } from './target-conformance.js';
import { tempDir } from './temp-dir.js';

/** A clock that goes on by itself, and further when it is told to. */
class TestClock {
  #passedMs = 0;
  readonly nowMs = () => Date.now() + this.#passedMs;
  readonly clock = () => ({ id: 'test', ms: performance.now() + this.#passedMs });

  pass(ms: number): void {
    this.#passedMs += ms;
  }
}

function stager(root: string, context: StagingContext, transaction: string) {
  let serial = 0;
  return async (tag: string, layer = `layer of ${tag}`, name = `app:${tag}`) => {
    const path = join(root, 'drops', String(++serial));
    mkdirSync(path, { recursive: true });
    makeLayout(path, { layers: [layer], tag });
    const at = toTimestamp(serial);
    const how = { tag: undefined, tolerateAbsent: true, ingest: 'copy', compress: 'none' } as const;
    const drop = { name, path, kind: 'directory', at, ...how } as const;
    const stored = await stageDrop(context, { id: undefined, transaction, drop });
    return { ...stored, path: undefined, origin: { drop: name, at } };
  };
}

/** @param opened gets the services, to be closed */
export async function directoryUnderTest(opened: TestServices[]): Promise<TargetUnderTest> {
  const root = tempDir();
  const clock = new TestClock();
  const [services, second] = [
    await testServices(root, { disk: nodeDisk }),
    await testServices(root, { disk: nodeDisk }),
  ];
  for (const each of [services, second]) {
    setClock(each, clock.nowMs);
    opened.push(each);
  }
  const { roots, run, uid, events, transactions } = services;
  const transaction = transactions.next();
  await run(begin, { roots, transaction });
  const stage = stager(root, { roots, run, uid, emit: events.emit, stage: stageJob }, transaction);
  const [target, other] = [services.targets.local, second.targets.local];
  return { target, other, stage, pass: (ms) => clock.pass(ms) };
}

export async function storeUnderTest(store: ObjectStore): Promise<TargetUnderTest> {
  const clock = new TestClock();
  const times = { nowMs: clock.nowMs, clock: clock.clock };
  const publisher = await new StorePublisher(store, times).prepare();
  const { roots } = publisher.context;
  const { run } = handsOf(nodeDisk);
  const second = new StorePublisher(store, { ...times, roots });
  const context = { roots, run, uid: 0, emit: () => {}, stage: stageJob };
  const stage = stager(publisher.root, context, publisher.transaction);
  const [target, other] = [publisher.target, second.target];
  return { target, other, stage, pass: (ms) => clock.pass(ms) };
}

export async function memoryUnderTest(): Promise<TargetUnderTest> {
  const root = tempDir();
  const clock = new TestClock();
  const options = {
    nowMs: clock.nowMs,
    clock: clock.clock,
    beforeFlip: () => new Promise<void>((resolve) => setImmediate(resolve)),
  };
  const target = new MemoryTarget(options);
  const other = new MemoryTarget(options, target);
  const roots = { published: join(root, 'published'), state: join(root, 'state') };
  const { run } = handsOf(nodeDisk);
  const transaction = 'p1x1-1-1';
  await run(begin, { roots, transaction });
  const stage = stager(root, { roots, run, uid: 0, emit: () => {}, stage: stageJob }, transaction);
  return { target, other, stage, pass: (ms) => clock.pass(ms) };
}
