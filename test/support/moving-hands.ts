/** Who makes a moving tree move: publishes into the directory, or to an object store. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { publishEverywhere } from '#src/daemon/everywhere.js';
import { publishContext } from '#src/daemon/services.js';
import { parseRepositoryName } from '#src/image/names.js';
import { pointerKey, snapshotKey } from '#src/objects/layout.js';
import { parsePointer } from '#src/objects/pointer.js';
import { changeStore } from '#src/objects/publish.js';
import { type Edit, editRepository } from '#src/publish/edit.js';
import { newTransaction } from '#src/publish/turn.js';
import { resolveRepository } from '#src/settings/repository-policy.js';
import { parseSnapshot, type StoredSnapshot } from '#src/snapshot/snapshot-file.js';
import { toTimestamp } from '#src/snapshot/timestamp.js';
import { deliver, dropPath } from './deliver.js';
import type { TestContent, TestDescriptor } from './make-image.js';
import type { TestServices } from './service.js';
import { tempDir } from './temp-dir.js';

export interface MovingHands {
  publish(
    repository: string,
    tag: string,
    content: TestContent,
    root: TestDescriptor,
  ): Promise<void>;
  edit(repository: string, edit: Edit): Promise<void>;
  /** What is current; of repositories whose id is their name. */
  current(repository: string): Promise<StoredSnapshot>;
}

export function directoryHands(root: string, services: TestServices): MovingHands {
  return {
    publish: async (repository, tag, content, image) => {
      const path = `${repository}:${tag}`;
      content.writeLayout(dropPath(root, path), [{ image }]);
      await deliver(services, path);
    },
    edit: async (repository, edit) => {
      const policy = resolveRepository(services.settings, parseRepositoryName(repository));
      await editRepository(publishContext(services), policy, edit);
    },
    current: async (repository) => {
      const path = join(root, 'published', 'web', repository, '.snapshot.json');
      return parseSnapshot(readFileSync(path), path);
    },
  };
}

/** @param target the only one that the repositories are published to */
export function storeHands(services: TestServices, target: string): MovingHands {
  const { settings, stores } = services;
  const policyOf = (repository: string) =>
    resolveRepository(settings, parseRepositoryName(repository));
  let serial = 0;
  return {
    publish: async (repository, tag, content, image) => {
      const path = tempDir();
      content.writeLayout(path, [{ image, tag }]);
      const name = `${repository}:${tag}@${++serial}`;
      const at = toTimestamp(Date.now());
      const drop = { name, path, kind: 'directory', at, tag: undefined } as const;
      const how = { tolerateAbsent: true, ingest: 'copy', compress: 'none' } as const;
      const policy = policyOf(repository);
      const { outcomes } = await publishEverywhere(services, publishContext(services), policy, {
        ...drop,
        ...how,
      });
      const [outcome] = outcomes;
      if (outcome?.status === 'rejected' || outcome?.status === 'retry') throw outcome.error;
    },
    edit: async (repository, edit) => {
      const { roots, run } = services;
      const transaction = newTransaction(publishContext(services));
      await run('begin', { roots, transaction });
      const context = await stores.open(target);
      const turn = { context, policy: policyOf(repository), transaction };
      await changeStore(turn, () => ({ edit, restored: undefined }));
      await run('end', { roots, transaction });
    },
    current: async (repository) => {
      const { store } = await stores.open(target);
      const { id } = policyOf(repository);
      const read = async (key: string) => {
        const found = await store.get(key);
        if (found === undefined || found === 'same') throw new Error(`there is no ${key}`);
        return found.body;
      };
      const { snapshot } = parsePointer(await read(pointerKey(id)), id);
      return parseSnapshot(await read(snapshotKey(id, snapshot)), id);
    },
  };
}
