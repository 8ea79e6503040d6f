/** Delivers one drop step by step and in order, so that its k-th disk operation is always the same. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { toClaimedDrop } from '#src/daemon/claimed-drop.js';
import { Claiming } from '#src/daemon/claiming.js';
import { publisherContext } from '#src/daemon/daemon.js';
import type { Services } from '#src/daemon/services.js';
import { prepareInbox } from '#src/inbox/claim.js';
import { deleteMarked } from '#src/inbox/finish.js';
import { scan } from '#src/inbox/scan-job.js';
import type { ClaimedDrop } from '#src/publisher/drop-record.js';
import type { PublishEvent } from '#src/publisher/events.js';
import { Publisher } from '#src/publisher/publisher.js';
import type { PublishedOutcome } from '#src/publisher/target.js';
import { nodeDisk } from '#src/storage/disk.js';
import { emptyTrash } from '#src/storage/trash.js';
import { makeLayout, sha256, TestContent } from './make-image.js';
import { dockerSaveMembers, makeTar, tarMembers } from './make-tar.js';
import { oldOrNew, readRepository } from './outside-reader.js';
import { testServices } from './service.js';
import { tempDir } from './temp-dir.js';

/** What became of a drop that was delivered. */
export type DeliveredDrop =
  | PublishedOutcome
  | { readonly status: 'rejected'; readonly error: Error };

/**
 * Claims and publishes the drop as the daemon does, by the same code, but does not wait until it is quiet:
 * it is examined and, where it is complete, claimed and stored at once; else it is claimed as if its time were up.
 * @returns undefined where it cannot be claimed now: the daemon would look again later
 * @throws what a step throws; the daemon would try again
 */
export async function deliver(
  services: Services,
  path: string,
): Promise<DeliveredDrop | undefined> {
  const { inbox, run, roots } = services;
  const { drops } = await run(scan, { inbox, marker: undefined });
  const seen = drops.find((drop) => drop.path === path);
  if (seen === undefined) return undefined;
  const claiming = new Claiming(services);
  let claimed = await claiming.claim(seen);
  const tolerateAbsent = claimed.claim === undefined;
  if (tolerateAbsent) claimed = await claiming.claim(seen, true);
  const { claim, held } = claimed;
  if (claim === undefined || typeof claim === 'string') {
    await held?.release();
    return undefined;
  }
  const { kind } = seen;
  const given = { path, kind, look: undefined, tolerateAbsent, held };
  let outcome = await publishOne(services, toClaimedDrop(services, claim, given));
  // Its end has not come, and will not: it lies in the inbox again, and its time is up.
  if (outcome === 'returned') {
    const again = await claiming.claim(seen, true);
    if (typeof again.claim !== 'object') return undefined;
    const due = { path, kind, look: undefined, tolerateAbsent: true };
    outcome = await publishOne(services, toClaimedDrop(services, again.claim, due));
  }
  await run(deleteMarked, { inbox });
  await run(emptyTrash, { roots });
  return outcome === 'returned' ? undefined : outcome;
}

/**
 * The daemon's own publisher, for one drop, and stopped at the first thing it would try again.
 * @throws what it would be tried again for
 */
export async function publishOne(
  services: Services,
  claimed: ClaimedDrop,
): Promise<DeliveredDrop | 'returned'> {
  let publisher: Publisher | undefined;
  let unsubscribe = () => {};
  try {
    return await new Promise((resolve, reject) => {
      let outcome: DeliveredDrop | undefined;
      const heard = (event: PublishEvent) => {
        if (!('drop' in event) || event.drop !== claimed.name) return;
        if (event.type === 'publish.done') outcome = event.outcome;
        if (event.type === 'drop.rejected') outcome = { status: 'rejected', error: event.error };
        if (event.type === 'publish.retry' || event.type === 'drop.lost') reject(event.error);
      };
      unsubscribe = services.events.subscribe(heard);
      publisher = new Publisher(publisherContext(services), {
        onBug: reject,
        onPublished: () => {},
        onReturned: () => resolve('returned'),
        onFinished: () => outcome && resolve(outcome),
      });
      publisher.add(claimed);
    });
  } finally {
    unsubscribe();
    await publisher?.stop();
    await claimed.held?.release();
  }
}

export function dropPath(root: string, path: string): string {
  return join(root, 'inbox', path);
}

export const SWEPT_ID = 'team~app';
export const SWEPT_DROP = 'team/app:1.0';
/** Settings under which a healthy daemon finishes in no time. */
export const SWEEP_YAML =
  'settle: {quiet: 1ms}\nretry: {first: 10ms}\ninbox: {watch: false, scan: 20ms}\n';

/** The same with drops that stay in the inbox and are claimed by a copy. */
export const SWEEP_LEAVING_YAML = SWEEP_YAML.replace('scan: 20ms', 'scan: 20ms, after: leave');

/** A drop that is swept: where it lies, and how one that holds a layer of this text is put there. */
export interface SweptDrop {
  readonly path: string;
  /** @returns the digest its tag is to have, where it is known */
  readonly make: (path: string, layer: string) => string | undefined;
}

const LARGE_LAYERS = Array.from({ length: 8 }, (_none, at) => `layer ${at}`);

const makeArchive = (path: string, layer: string): string => {
  const content = new TestContent();
  const image = content.image({ layers: ['base', layer] });
  const layout = join(tempDir(), 'layout');
  content.writeLayout(layout, [{ image, tag: '1.0' }]);
  writeFileSync(path, makeTar(tarMembers(layout)));
  return image.digest;
};

/** One for each way a drop's content takes into the store. */
export const SWEPT_DROPS = {
  'a small directory': {
    path: SWEPT_DROP,
    make: (path, layer) => makeLayout(path, { layers: ['base', layer] }).digest,
  },
  // Too many blobs to be stored when it is taken.
  'a directory': {
    path: SWEPT_DROP,
    make: (path, layer) => makeLayout(path, { layers: [...LARGE_LAYERS, layer] }).digest,
  },
  'an archive': { path: `${SWEPT_DROP}.tar`, make: makeArchive },
  // Unpacked, and its manifest is made.
  'a compressed docker-archive': {
    path: `${SWEPT_DROP}.tar.gz`,
    make: (path, layer) => {
      const names = ['app:1.0'];
      const members = dockerSaveMembers([{ names, layers: ['base', layer] }], sha256);
      writeFileSync(path, gzipSync(makeTar(members)));
      return undefined;
    },
  },
} as const satisfies Record<string, SweptDrop>;

export interface PreparedSweep {
  readonly root: string;
  /** What a reader sees. @throws a violation */
  readonly look: () => 'old' | 'new';
}

/** A published repository, a drop that moves its tag, and a way to ask what a reader sees. */
export async function prepareSweep(
  drop: SweptDrop = SWEPT_DROPS['a small directory'],
): Promise<PreparedSweep> {
  const root = tempDir();
  const look = await prepareSweepIn(root, drop);
  return { root, look: () => look(root) };
}

/** The same in a directory of the caller's. @returns how to look at it, or at a copy of it */
export async function prepareSweepIn(
  root: string,
  drop: SweptDrop = SWEPT_DROPS['a small directory'],
): Promise<(root: string) => 'old' | 'new'> {
  mkdirSync(join(root, 'inbox', 'team'), { recursive: true });
  const services = await testServices(root, { disk: nodeDisk, yaml: SWEEP_YAML });
  await services.run(prepareInbox, { inbox: services.inbox });
  drop.make(dropPath(root, drop.path), 'old');
  await deliver(services, drop.path);
  await services.close();
  const digest = drop.make(dropPath(root, drop.path), 'new');
  const old = readRepository(join(root, 'published'), SWEPT_ID);
  const before = old?.tags['1.0'];
  return (there) =>
    oldOrNew(join(there, 'published'), SWEPT_ID, old, ({ tags }) =>
      digest === undefined ? tags['1.0'] !== before : tags['1.0'] === digest,
    );
}
