/** A bucket of an object store, as a target and as a source of the registry endpoint. */

import { NOBODYS_ID } from '../../registry/permission.js';
import { resolveRepositoryById } from '../../settings/repository-policy.js';
import type { StoreSettings } from '../../settings/target-settings.js';
import type { OpenSource, SourceOptions, TargetContext, TargetKind } from '../target-kind.js';
import { BLOBS } from './object-keys.js';
import { ObjectSource } from './object-source.js';
import { ObjectStoreTarget } from './object-store-target.js';
import { StoreMemory } from './read-current.js';
import { openStore } from './s3-store.js';
import type { StoreContext } from './store-context.js';

/** Clients wait for these small requests; a store that takes longer counts as unavailable. */
const SMALL_MS_MAX = 10_000;

export const objectStoreKind: TargetKind<StoreSettings> = {
  openTarget(name, own, context) {
    const { settings } = context;
    const { owner, transactions } = context.services;
    let opened: Promise<StoreContext> | undefined;
    const open = () => {
      opened ??= openContext(name, own, context).catch((error) => {
        opened = undefined;
        throw error;
      });
      return opened;
    };
    const target = new ObjectStoreTarget({
      name,
      open,
      transactions,
      owner: owner.token,
      uid: process.getuid?.() ?? 0,
      policyOf: (id) => resolveRepositoryById(settings(), id),
      graceMs: () => settings().retention.grace,
      cleanEveryMs: own.clean,
      onPublished: (id, current) => context.onPublished(name, id, current),
    });
    const close = async () => {
      const found = await opened?.catch(() => undefined);
      found?.store.close();
    };
    return { target, close };
  },

  openSource: openObjects,

  blobPlace: ({ publicUrl }) => ({
    url: publicUrl && `${publicUrl.replace(/\/*$/, '')}/${BLOBS}{digest}`,
  }),

  // The endpoint works without the store, from its cache.
  readPlaces: () => [],
};

async function openContext(
  name: string,
  own: StoreSettings,
  { services, budget }: TargetContext,
): Promise<StoreContext> {
  const { singleWriter: isSingleWriter, longest: longestMs, timeout: timeoutMs } = own;
  return {
    store: await openStore({ ...own, target: name, timeoutMs }),
    roots: services.roots,
    run: (job, request) => services.run(job, request),
    memory: new StoreMemory(),
    budget,
    isSingleWriter,
    longestMs,
    nowMs: () => services.nowMs(),
    monotonicMs: () => services.monotonicMs(),
    clock: () => services.clock(),
  };
}

async function openObjects(
  target: string,
  own: StoreSettings,
  { settings, onAway }: SourceOptions,
): Promise<OpenSource> {
  const { signedFor, pointerAge, staleFor, connections } = settings.registry;
  const given = { ...own, target, timeoutMs: Math.min(own.timeout, SMALL_MS_MAX) };
  // Separate clients, so that slow blob downloads do not delay small requests.
  const [small, blobs] = await Promise.all([
    openStore(given),
    openStore({ ...given, sockets: connections }),
  ]);
  const source = new ObjectSource({
    store: small,
    blobs,
    signedSeconds: Math.floor(signedFor / 1000),
    pointerAgeMs: pointerAge,
    staleMs: staleFor,
    monotonicMs: () => performance.now(),
    onAway,
  });
  // Reports an unreachable store at the start. No repository has this id, and no request waits for it.
  source.current(NOBODYS_ID).catch(() => {});
  const close = () => {
    small.close();
    blobs.close();
  };
  return { source, close };
}
