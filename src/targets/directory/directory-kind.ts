/** The published tree as a target and as a source for the registry endpoint. */
import { resolve } from 'node:path';
import { resolveRepositoryById } from '../../settings/repository-policy.js';
import type { TargetContext, TargetKind } from '../target-kind.js';
import { DirectorySource } from './directory-source.js';
import { DirectoryTarget } from './directory-target.js';

const REMEMBER_BYTES = 64 * 1024 * 1024;

export const directoryKind: TargetKind<{ readonly type: 'directory' }> = {
  openTarget(name, _own, context) {
    return { target: openDirectory(name, context), close: async () => {} };
  },

  async openSource(_name, _own, { roots, run }) {
    const source = new DirectorySource({ roots, run, rememberBytes: REMEMBER_BYTES });
    return { source, close: () => {} };
  },

  blobPlace: () => undefined,

  readPlaces: ({ paths }) => [{ name: 'published', path: resolve(paths.published), use: 'read' }],
};

function openDirectory(
  name: string,
  { settings, services, observer }: TargetContext,
): DirectoryTarget {
  const { roots, owner, owners, transactions, events } = services;
  return new DirectoryTarget({
    name,
    roots,
    transactions,
    owner: owner.token,
    run: (job, request) => services.run(job, request),
    emit: events.emit,
    lock: () => {
      const { stale: staleMs, wait: waitMs, kernel } = settings().lock;
      return { staleMs, waitMs, kernel, owner: owner.token };
    },
    policyOf: (id) => resolveRepositoryById(settings(), id),
    graceMs: () => settings().retention.grace,
    isDead: (token) => owners.isDead(token),
    nowMs: () => services.nowMs(),
    clock: () => services.clock(),
    ...(observer && { observer }),
  });
}
