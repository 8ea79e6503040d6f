/** One drop's whole way, step by step and in order, so that its k-th disk operation is always the same. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { letGoAll } from '#src/daemon/let-go.js';
import type { Services } from '#src/daemon/services.js';
import { toDrop } from '#src/daemon/to-drop.js';
import { nodeDisk } from '#src/disk/disk.js';
import { parseDropName } from '#src/image/names.js';
import type { DropOutcome } from '#src/publish/drop.js';
import { publishRepository } from '#src/publish/publish.js';
import { resolveRepository } from '#src/settings/repository-policy.js';
import { makeLayout } from './make-image.js';
import { oldOrNew, readRepository } from './outside-reader.js';
import { testServices } from './service.js';
import { tempDir } from './temp-dir.js';

/** @throws what a step throws; the daemon would try again */
export async function deliver(services: Services, path: string): Promise<DropOutcome | undefined> {
  const { inbox, run, owner, nowMs, roots, settings, uid } = services;
  const { drops } = await run('scan', { inbox, marker: undefined });
  const seen = drops.find((drop) => drop.path === path);
  if (seen === undefined) return undefined;
  const { signature, kind } = seen;
  const given = { inbox, path, signature, owner: owner.token, nowMs: nowMs(), marker: undefined };
  const claim = await run('takeClaim', given);
  // As the daemon would: it looks again later.
  if (typeof claim === 'string') return undefined;
  const name = parseDropName(path, kind === 'file');
  if (name.repository === undefined) throw new Error('no repository');
  const policy = resolveRepository(settings, name.repository);
  const drop = toDrop(services, claim, path, { tag: name.tag, kind, tolerateAbsent: true });
  const lock = { staleMs: 2000, waitMs: 0, kernel: true, owner: owner.token };
  const context = { roots, owner: owner.token, uid, run, nowMs, lock };
  const progress = { claimedMs: 0, attempts: 0, look: undefined };
  const claimed = { claim, name: path, policy, namespace: '', drop, ...progress };
  const result = await publishRepository(context, policy, [drop], (outcomes) =>
    letGoAll(services, outcomes, new Map([[drop, claimed]]), async () => {}),
  );
  await run('deleteRetired', { inbox });
  await run('emptyTrash', { roots });
  const [outcome] = result.outcomes;
  if (outcome?.status === 'retry') throw outcome.error;
  return outcome;
}

export function dropPath(root: string, path: string): string {
  return join(root, 'inbox', path);
}

export const SWEPT_ID = 'team~app';
export const SWEPT_DROP = 'team/app:1.0';
/** Settings under which a healthy daemon finishes in no time. */
export const SWEEP_YAML =
  'settle: {quiet: 1ms}\nretry: {first: 10ms}\ninbox: {watch: false, scan: 20ms}\n';

/** A published repository, a drop that moves its tag, and a way to ask what a reader sees. */
export async function prepareSweep(): Promise<{ root: string; look: () => 'old' | 'new' }> {
  const root = tempDir();
  const look = await prepareSweepIn(root);
  return { root, look: () => look(root) };
}

/** The same in a directory of the caller's. @returns how to look at it, or at a copy of it */
export async function prepareSweepIn(root: string): Promise<(root: string) => 'old' | 'new'> {
  mkdirSync(join(root, 'inbox', 'team'), { recursive: true });
  const services = await testServices(root, { disk: nodeDisk, yaml: SWEEP_YAML });
  await services.run('prepareInbox', { inbox: services.inbox });
  makeLayout(dropPath(root, SWEPT_DROP), { layers: ['base', 'old'] });
  await deliver(services, SWEPT_DROP);
  await services.close();
  const { digest } = makeLayout(dropPath(root, SWEPT_DROP), { layers: ['base', 'new'] });
  const old = readRepository(join(root, 'published'), SWEPT_ID);
  return (there) =>
    oldOrNew(join(there, 'published'), SWEPT_ID, old, ({ tags }) => tags['1.0'] === digest);
}
