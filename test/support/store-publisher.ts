/** A publisher on an object store, with its own content store, without threads. */

import { join } from 'node:path';
import { parseRepositoryName, type Tag } from '#src/image/names.js';
import { stageDrop } from '#src/publisher/stage-drop.js';
import type {
  PublishResult,
  RepositoryPolicy,
  StagedDrop,
  TargetChange,
} from '#src/publisher/target.js';
import { liveManifests } from '#src/repository/merge.js';
import { parseSnapshot, type StoredSnapshot } from '#src/repository/snapshot-file.js';
import { toTimestamp } from '#src/repository/timestamp.js';
import { stage as stageJob } from '#src/staging/stage.js';
import { readClock } from '#src/storage/clock.js';
import { nodeDisk } from '#src/storage/disk.js';
import type { RunJob } from '#src/storage/job.js';
import { prepareTree } from '#src/storage/prepare-tree.js';
import { begin, TransactionNames } from '#src/storage/transaction.js';
import { allDirectories } from '#src/storage/tree-paths.js';
import { Budget } from '#src/targets/memory-budget.js';
import { neededObjects } from '#src/targets/object-store/needed-objects.js';
import type { ObjectStore } from '#src/targets/object-store/object-store.js';
import { ObjectStoreTarget } from '#src/targets/object-store/object-store-target.js';
import { type Pointer, parsePointer } from '#src/targets/object-store/pointer.js';
import { readCurrent, StoreMemory } from '#src/targets/object-store/read-current.js';
import type { StoreContext } from '#src/targets/object-store/store-context.js';
import { type ImageOptions, makeLayout } from './make-image.js';
import type { S3Double } from './s3-double.js';
import { tempDir } from './temp-dir.js';

const run: RunJob = async (job, request) => (await job(nodeDisk, request)) as never;

export const APP: RepositoryPolicy = {
  repository: parseRepositoryName('team/app'),
  id: 'team~app' as RepositoryPolicy['id'],
  mode: 'merge',
  protected: false,
  immutableTags: [],
  urlTemplate: 'https://x/{id}/',
  redirectOci: 'convert',
  keep: 3,
  graceMs: 3_600_000,
};

let serial = 0;

export class StorePublisher {
  readonly root = tempDir();
  readonly context: StoreContext;
  readonly transaction = `${++serial}-${Date.now()}-1`;
  policy = APP;

  constructor(store: ObjectStore, more: Partial<StoreContext> = {}) {
    const roots = { published: join(this.root, 'published'), state: join(this.root, 'state') };
    this.context = {
      store,
      roots,
      run,
      memory: new StoreMemory(),
      budget: new Budget(128 * 1024 * 1024),
      isSingleWriter: false,
      longestMs: 3_600_000,
      nowMs: () => Date.now(),
      monotonicMs: () => performance.now(),
      clock: readClock,
      ...more,
    };
  }

  async prepare(): Promise<this> {
    const { roots } = this.context;
    await run(prepareTree, { roots, directories: allDirectories(roots) });
    await run(begin, { roots, transaction: this.transaction });
    return this;
  }

  /** Makes an image and takes it in, as a drop that was claimed now. */
  async stage(tag: string, options: ImageOptions = {}, name = `app:${tag}`): Promise<StagedDrop> {
    const path = join(this.root, 'drops', String(++serial));
    makeLayout(path, { layers: [tag], ...options, tag });
    return this.stageAt(path, name);
  }

  /** Takes a directory in. @throws what is wrong with it */
  async stageAt(path: string, name: string, tag?: string): Promise<StagedDrop> {
    const { roots } = this.context;
    const given = { kind: 'directory', tag: tag as Tag | undefined, tolerateAbsent: true } as const;
    const drop = {
      name,
      path,
      at: toTimestamp(Date.now()),
      ingest: 'copy',
      compress: 'none',
    } as const;
    const { transaction } = this;
    const context = { roots, uid: 0, run, emit: () => {}, stage: stageJob };
    const request = { id: undefined, transaction, drop: { ...drop, ...given } };
    const { content, ingested } = await stageDrop(context, request);
    return { content, ingested, path, origin: { drop: name, at: drop.at } };
  }

  publish(...drops: readonly StagedDrop[]): Promise<PublishResult> {
    return this.change({ kind: 'publish', drops });
  }

  change(change: TargetChange): Promise<PublishResult> {
    return this.target.publish(this.policy, change);
  }

  get target(): ObjectStoreTarget {
    const transactions = new TransactionNames(`p${++serial}`, () => Date.now());
    return new ObjectStoreTarget({
      name: 'store',
      owner: transactions.owner,
      uid: 0,
      open: async () => this.context,
      transactions,
      policyOf: () => this.policy,
      graceMs: () => this.policy.graceMs,
      cleanEveryMs: 0,
    });
  }
}

/** What an outsider finds who reads the store once. */
export function readStore(
  double: S3Double,
  id = 'team~app',
): { readonly pointer: Pointer; readonly snapshot: StoredSnapshot } | undefined {
  const at = (key: string) => double.read(`some/where/${key}`);
  const bytes = at(`repos/${id}/current`);
  if (bytes === undefined) return undefined;
  const pointer = parsePointer(bytes, 'the pointer');
  const text = at(`repos/${id}/${pointer.snapshot}.json`);
  if (text === undefined) throw new Error(`there is no snapshot ${pointer.snapshot}`);
  return { pointer, snapshot: parseSnapshot(text, 'the snapshot') };
}

/** Throws when something the snapshot names is not there, or not what it says. */
export function checkStore(double: S3Double, id = 'team~app', which?: 'live only'): string[] {
  const found = readStore(double, id);
  if (found === undefined) return [];
  const { state } = found.snapshot;
  const check = (key: string, size: number) => {
    const object = double.objects.get(`some/where/${key}`);
    if (object?.body.length !== size)
      throw new Error(`${key} is ${object?.body.length} of ${size}`);
  };
  const live = liveManifests(state);
  for (const [digest, record] of state.manifests) {
    if (which === 'live only' && !live.has(digest)) continue;
    check(`manifests/${record.stored ?? digest}`, record.size);
    for (const blob of record.blobs) check(`blobs/${blob.digest}`, blob.size);
  }
  return [...state.tags.keys()].sort();
}

/** The same through the store itself, for one that is not ours. Throws when something is missing. */
export async function lookAtStore(store: ObjectStore): Promise<{
  readonly tags: readonly string[];
  readonly pointer: Pointer | undefined;
  readonly state: StoredSnapshot['state'] | undefined;
}> {
  const current = await readCurrent(store, new StoreMemory(), APP.id);
  if (current === undefined) return { tags: [], pointer: undefined, state: undefined };
  const { state } = parseSnapshot(Buffer.from(current.base.text), 'the snapshot');
  for (const { key, size } of neededObjects(state, undefined)) {
    const facts = await store.head(key);
    if (facts?.size !== size) throw new Error(`${key} is ${facts?.size} of ${size}`);
  }
  return { tags: [...state.tags.keys()].sort(), pointer: current.pointer, state };
}
