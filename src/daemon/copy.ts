/**
 * Makes a repository in one target what it is in another. What is there already is not sent again, so
 * a copy that was cut short goes on where it was; content passes through this machine's content store.
 */
import { allOrFirstError } from '../disk/hands.js';
import { nothingIngested } from '../disk/stored.js';
import type { RepositoryId } from '../image/names.js';
import type { SnapshotText } from '../objects/build.js';
import { bringContent } from '../objects/content.js';
import type { StoreContext } from '../objects/context.js';
import { readCurrent } from '../objects/current.js';
import { fetchContent } from '../objects/fetch.js';
import { listIds } from '../objects/look.js';
import type { NeededObject } from '../objects/needed.js';
import { patiently } from '../objects/patience.js';
import type { DropToPublish, PublishedDrop } from '../publish/drop.js';
import { publishRepository } from '../publish/publish.js';
import { newTransaction, type PublishContext } from '../publish/turn.js';
import { type ResolvedRepository, resolveRepository } from '../settings/repository-policy.js';
import { LOCAL_TARGET } from '../settings/targets.js';
import { toTimestamp } from '../snapshot/timestamp.js';
import { publishToStore } from './everywhere.js';
import { publishContext, type Services } from './services.js';

export interface Copy {
  readonly from: string;
  readonly to: string;
}

export interface CopyProgress {
  /** Called once it is known how many bytes a repository has. */
  readonly onTotal: (bytes: number) => void;
  readonly onBytes: (count: number) => void;
}

/** Undefined for a repository that was removed, or is not in the source. */
export type Copied = Pick<PublishedDrop, 'status' | 'snapshot' | 'moves'> | undefined;

export async function repositoriesOf(
  { stores, run, roots }: Services,
  target: string,
): Promise<RepositoryId[]> {
  if (target === LOCAL_TARGET) return run('listRepositories', { roots });
  return listIds(await stores.open(target));
}

/** @throws what a publish throws; the target is then as it was */
export async function copyRepository(
  services: Services,
  copy: Copy,
  id: RepositoryId,
  progress: CopyProgress,
): Promise<Copied> {
  const { run, roots } = services;
  const context = publishContext(services);
  const transaction = newTransaction(context);
  // Before it is read what is to be copied: what that needs stays in the store until the end.
  await run('begin', { roots, transaction });
  try {
    return await copyInto(services, context, transaction, copy, id, progress);
  } finally {
    await run('end', { roots, transaction });
  }
}

async function copyInto(
  services: Services,
  context: PublishContext,
  transaction: string,
  copy: Copy,
  id: RepositoryId,
  progress: CopyProgress,
): Promise<Copied> {
  const { run, roots, settings } = services;
  const source = await readSource(services, copy.from, id);
  if (source === undefined) return undefined;
  const { repository, removed, objects } = await run('restageNeeds', { source });
  if (removed) return undefined;
  progress.onTotal(objects.reduce((sum, { size }) => sum + size, 0));
  // Operators are not bound by immutableTags.
  const policy = { ...resolveRepository(settings, repository), immutableTags: [] };
  const lacking = await lackingAt(services, copy, objects, progress);
  await fetchFrom(services, copy.from, transaction, lacking, progress);
  const content = await run('restage', { roots, source });
  if (copy.to !== LOCAL_TARGET) {
    await bringContent(await services.stores.open(copy.to), lacking);
  }
  const drop: DropToPublish = {
    name: `copy of ${copy.from}`,
    path: '',
    kind: 'directory',
    at: toTimestamp(services.nowMs()),
    tag: undefined,
    staged: content,
    tolerateAbsent: true,
    ingest: 'copy',
    compress: 'none',
  };
  const replaced = { ...policy, mode: 'replace' } as const;
  return publishCopy(services, context, copy.to, replaced, drop, transaction);
}

async function readSource(
  { run, roots, stores }: Services,
  from: string,
  id: RepositoryId,
): Promise<SnapshotText | undefined> {
  if (from === LOCAL_TARGET) return run('readLocalText', { roots, id });
  const { store, memory } = await stores.open(from);
  return (await readCurrent(store, memory, id))?.base;
}

/** What has to come here: manifests are read, blobs are only passed on where they are missing. */
async function lackingAt(
  { stores }: Services,
  { to }: Copy,
  objects: readonly NeededObject[],
  { onBytes }: CopyProgress,
): Promise<readonly NeededObject[]> {
  if (to === LOCAL_TARGET) return objects;
  const { store } = await stores.open(to);
  const checked: { object: NeededObject; isThere: boolean }[] = [];
  const queue = [...objects];
  const look = async () => {
    for (let object = queue.pop(); object !== undefined; object = queue.pop()) {
      const { key, size, digest } = object;
      const facts = await patiently(() => store.head(key));
      const isThere = facts?.size === size && facts.metadata.digest === digest;
      checked.push({ object, isThere });
    }
  };
  await allOrFirstError(Array.from({ length: 8 }, look));
  return checked
    .filter(({ object, isThere }) => {
      const isBlob = object.key.startsWith('blobs/');
      if (isThere && isBlob) onBytes(object.size);
      return !isThere || !isBlob;
    })
    .map(({ object }) => object);
}

async function fetchFrom(
  { stores, run, uid }: Services,
  from: string,
  transaction: string,
  objects: readonly NeededObject[],
  { onBytes }: CopyProgress,
): Promise<void> {
  if (from === LOCAL_TARGET) {
    for (const { size } of objects) onBytes(size);
    return;
  }
  const source: StoreContext = await stores.open(from);
  await fetchContent(source, objects, { run, transaction, uid, onBytes });
}

async function publishCopy(
  services: Services,
  context: PublishContext,
  to: string,
  policy: ResolvedRepository,
  drop: DropToPublish,
  transaction: string,
): Promise<Copied> {
  const ingested = nothingIngested();
  const staged = { content: drop.staged ?? EMPTY, ingested };
  const { outcomes } =
    to === LOCAL_TARGET
      ? await publishRepository(context, policy, [drop])
      : await publishToStore(services, to, { policy, transaction }, [{ drop, staged }]);
  const [outcome] = outcomes;
  if (outcome === undefined) return undefined;
  if (outcome.status === 'rejected' || outcome.status === 'retry') throw outcome.error;
  return outcome;
}

const EMPTY = { roots: [], manifests: [], blobs: [], leftOut: [], warnings: [] };
