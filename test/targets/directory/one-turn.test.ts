/** Goal: when two drops of one batch set the same tag, the later one wins, whatever kind each is. */

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { parseRepositoryName } from '#src/image/names.js';
import { partsOf, stageDrop } from '#src/publisher/stage-drop.js';
import type { DropToPublish } from '#src/publisher/stored-drop.js';
import type { StagedDrop } from '#src/publisher/target.js';
import { toTimestamp } from '#src/repository/timestamp.js';
import { resolveRepository } from '#src/settings/repository-policy.js';
import { stage as stageJob } from '#src/staging/stage.js';
import { inTransaction } from '#src/storage/transaction.js';
import { makeLayout, sha256 } from '../../support/make-image.js';
import { dockerSaveMembers, makeTar } from '../../support/make-tar.js';
import { readRepository } from '../../support/outside-reader.js';
import { type TestServices, testServices } from '../../support/service.js';
import { removeTempDirs, tempDir } from '../../support/temp-dir.js';

describe('drops of one batch', () => {
  let root: string;
  let services: TestServices;
  beforeEach(async () => {
    root = tempDir();
    services = await testServices(root);
    mkdirSync(join(root, 'drops'));
  });
  afterEach(async () => {
    await services.close();
    removeTempDirs();
  });

  const policy = () => resolveRepository(services.settings, parseRepositoryName('app'));
  const given = (kind: DropToPublish['kind'], atMs: number): DropToPublish => ({
    name: kind,
    path: join(root, 'drops', kind),
    kind,
    at: toTimestamp(atMs),
    tag: undefined,
    tolerateAbsent: true,
    ingest: 'copy',
    compress: 'none',
  });
  /** Reads it, and publishes it while what was stored of it is kept. */
  async function staged(drop: DropToPublish, transaction: string): Promise<StagedDrop> {
    const { repository, id } = policy();
    const { roots, uid, run, events } = services;
    const context = { roots, uid, run, emit: events.emit, stage: stageJob };
    const stored = await stageDrop(context, { id, transaction, drop });
    const [part] = partsOf({ ...drop, repository, namespace: '' }, stored).parts;
    if (part === undefined) throw new Error('no part');
    return part.staged;
  }

  for (const last of ['directory', 'file'] as const) {
    it(`assign a tag to the later one, a ${last}`, async () => {
      const first = last === 'file' ? 'directory' : 'file';
      const drops = [given(first, 1000), given(last, 2000)];
      const { digest } = makeLayout(join(root, 'drops', 'directory'), { layers: ['a'], tag: '1' });
      const members = dockerSaveMembers([{ names: ['x:1'], layers: ['b'] }], sha256);
      writeFileSync(join(root, 'drops', 'file'), makeTar(members));
      const { roots, run, transactions, targets } = services;
      const transaction = transactions.next();
      const { outcomes } = await inTransaction(run, { roots, transaction }, async () => {
        const all = await Promise.all(drops.map((drop) => staged(drop, transaction)));
        return targets.local.publish(policy(), { kind: 'publish', drops: all });
      });
      expect(outcomes.map(({ status }) => status)).to.deep.equal(['published', 'published']);
      const tags = readRepository(join(root, 'published'), 'app')?.tags ?? {};
      expect(JSON.stringify(tags).includes(digest)).to.equal(last === 'directory');
    });
  }
});
