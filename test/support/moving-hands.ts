/** Changes a moving tree: publishes into the directory, or to an object store. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { onceContext } from '#src/daemon/daemon.js';
import { parseRepositoryName } from '#src/image/names.js';
import { publishOnce } from '#src/publisher/publish-once.js';
import type { Edit } from '#src/publisher/target.js';
import { parseSnapshot, type StoredSnapshot } from '#src/repository/snapshot-file.js';
import { toTimestamp } from '#src/repository/timestamp.js';
import { resolveRepository } from '#src/settings/repository-policy.js';
import { deliver, dropPath } from './deliver.js';
import { editRepository } from './edit-repository.js';
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
      await editRepository(services, repository, edit);
    },
    current: async (repository) => {
      const path = join(root, 'published', 'web', repository, '.snapshot.json');
      return parseSnapshot(readFileSync(path), path);
    },
  };
}

/** @param target the only one that the repositories are published to */
export function storeHands(services: TestServices, target: string): MovingHands {
  const { settings } = services;
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
      const given = { drop: { ...drop, ...how }, namespace: '' };
      const of = parseRepositoryName(repository);
      const { parts } = await publishOnce(onceContext(services), { ...given, repository: of });
      for (const { outcome } of parts) if (outcome.status === 'rejected') throw outcome.error;
    },
    edit: async (repository, edit) => {
      await services.targets.get(target).publish(policyOf(repository), edit);
    },
    current: async (repository) => {
      const { id } = policyOf(repository);
      const found = await services.targets.get(target).currentText(id);
      if (found === undefined) throw new Error(`there is no ${repository}`);
      return parseSnapshot(Buffer.from(found.text), id);
    },
  };
}
