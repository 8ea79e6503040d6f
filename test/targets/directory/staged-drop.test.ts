/**
 * Goal: staged content of a drop is published without reading the drop again, as long as the content it
 * omits exists; a drop that was removed is not published (its receipt would be wrong).
 */

import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import type { Digest } from '#src/image/digest.js';
import { parseRepositoryName } from '#src/image/names.js';
import { partsOf, stageDrop } from '#src/publisher/stage-drop.js';
import type { DropOutcome, PublishResult, StagedDrop } from '#src/publisher/target.js';
import { toTimestamp } from '#src/repository/timestamp.js';
import { resolveRepository } from '#src/settings/repository-policy.js';
import { stage as stageJob } from '#src/staging/stage.js';
import { begin } from '#src/storage/transaction.js';
import { contentPath } from '#src/storage/tree-paths.js';
import { editRepository } from '../../support/edit-repository.js';
import { blobPath, layerBytes, makeLayout, sha256, TestContent } from '../../support/make-image.js';
import { readRepository } from '../../support/outside-reader.js';
import { type TestServices, testServices } from '../../support/service.js';
import { removeTempDirs, tempDir } from '../../support/temp-dir.js';

describe('a staged drop', () => {
  let root: string;
  let services: TestServices;
  /** As long as it is there, nothing is swept of what was staged. */
  let transaction: string;
  let clockMs: number;
  beforeEach(async () => {
    root = tempDir();
    clockMs = 1000;
    services = await testServices(root);
    mkdirSync(join(root, 'drops'));
    const { roots, run, transactions } = services;
    transaction = transactions.next();
    await run(begin, { roots, transaction });
  });
  afterEach(async () => {
    await services.close();
    removeTempDirs();
  });

  const policy = () => resolveRepository(services.settings, parseRepositoryName('app'));
  const publish = (...drops: StagedDrop[]): Promise<PublishResult> =>
    services.targets.local.publish(policy(), { kind: 'publish', drops });
  const published = () => readRepository(join(root, 'published'), 'app');
  const tags = () => Object.keys(published()?.tags ?? {});
  const pathOf = (name: string) => join(root, 'drops', name);
  const layer = (text: string) => sha256(layerBytes(text));
  const vanish = (digest: string) => rmSync(contentPath(services.roots, digest as Digest));

  /** @param layers of the image; its tag is its name */
  function drop(name: string, layers: readonly string[] = [name]): string {
    makeLayout(pathOf(name), { layers, tag: name });
    return name;
  }
  /** Reads the drop at this place. */
  async function stage(name: string): Promise<StagedDrop> {
    const { roots, uid, run, events } = services;
    const { repository, id } = policy();
    const given = {
      name,
      path: pathOf(name),
      kind: 'directory',
      at: toTimestamp(++clockMs),
      tag: undefined,
      tolerateAbsent: false,
      ingest: 'copy',
      compress: 'none',
    } as const;
    const context = { roots, uid, run, emit: events.emit, stage: stageJob };
    const stored = await stageDrop(context, { id, transaction, drop: given });
    const [part] = partsOf({ ...given, repository, namespace: '' }, stored).parts;
    if (part === undefined) throw new Error('no part');
    return part.staged;
  }
  const empty = (name: string) => {
    for (const each of readdirSync(pathOf(name)))
      rmSync(join(pathOf(name), each), { recursive: true });
  };
  const statuses = ({ outcomes }: PublishResult) => outcomes.map(({ status }) => status);
  const codeOf = (outcome: DropOutcome | undefined) =>
    outcome && 'error' in outcome ? (outcome.error as { code?: string }).code : undefined;

  it('is not read again', async () => {
    const one = await stage(drop('one'));
    empty('one');
    expect(statuses(await publish(one, await stage(drop('two'))))).to.deep.equal([
      ...['published', 'published'],
    ]);
    expect(tags()).to.have.members(['one', 'two']);
  });

  it('is published by all targets from the same content, also twice', async () => {
    const one = await stage(drop('one'));
    empty('one');
    const first = await publish(one);
    await editRepository(services, 'app', { kind: 'untag', tags: ['one'] });
    const again = { ...one, origin: { ...one.origin, at: toTimestamp(++clockMs) } };
    expect([first, await publish(again)].flatMap(statuses)).to.deep.equal([
      ...['published', 'published'],
    ]);
    expect(tags()).to.deep.equal(['one']);
  });

  describe('that omits content of its repository', () => {
    /** Its first layer is left out. */
    async function thin(name: string): Promise<StagedDrop> {
      drop(name, ['base', name]);
      rmSync(blobPath(pathOf(name), layer('base')));
      const staged = await stage(name);
      empty(name);
      return staged;
    }
    beforeEach(async () => {
      expect(statuses(await publish(await stage(drop('zero', ['base']))))).to.deep.equal([
        'published',
      ]);
    });

    it('is published without being read again', async () => {
      expect(statuses(await publish(await thin('one')))).to.deep.equal(['published']);
      expect(published()?.tags).to.have.keys('zero', 'one');
    });

    it('is published on another current snapshot, as long as the content exists', async () => {
      const one = await thin('one');
      await publish(await stage(drop('two')));
      await editRepository(services, 'app', { kind: 'untag', tags: ['zero'] });
      expect(statuses(await publish(one))).to.deep.equal(['published']);
      expect(tags()).to.have.members(['one', 'two']);
    });

    it('is retried when that content is gone, and the others of its batch are published', async () => {
      const one = await thin('one');
      vanish(layer('base'));
      const { outcomes } = await publish(one, await stage(drop('two')));
      expect(outcomes.map(({ status }) => status)).to.deep.equal(['retry', 'published']);
      expect(codeOf(outcomes[0])).to.equal('content.vanished');
      expect(tags()).to.have.members(['zero', 'two']);
    });

    it('is retried when an omitted manifest is gone, and the others are published', async () => {
      const content = new TestContent();
      const child = content.image({ layers: ['child'] });
      content.writeLayout(pathOf('child'), [{ image: child, tag: 'child' }]);
      await publish(await stage('child'));
      content.writeLayout(pathOf('index'), [{ image: content.index([child]), tag: 'index' }]);
      rmSync(blobPath(pathOf('index'), child.digest));
      const index = await stage('index');
      vanish(child.digest);
      // The snapshot has it still; so that is not to be found, either.
      const pivot = join(root, 'published', 'web', 'app');
      rmSync(pivot);
      const two = await stage(drop('two'));
      const { outcomes } = await publish(index, two);
      expect(outcomes.map(({ status }) => status)).to.deep.equal(['retry', 'published']);
      expect(codeOf(outcomes[0])).to.equal('content.vanished');
      expect(existsSync(pivot)).to.equal(true);
    });
  });

  it('is not published when it has been removed', async () => {
    const one = await stage(drop('one'));
    rmSync(pathOf('one'), { recursive: true });
    const { outcomes } = await publish(one, await stage(drop('two')));
    expect(outcomes.map(({ status }) => status)).to.deep.equal(['retry', 'published']);
    expect(codeOf(outcomes[0])).to.equal('claim.lost');
    expect(tags()).to.deep.equal(['two']);
  });
});
