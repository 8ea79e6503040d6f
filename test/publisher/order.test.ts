/**
 * Goal: when two drops set one tag, the drop claimed later wins, however long each takes to read; an
 * unreadable or rejected drop does not block other drops.
 */

import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect } from 'chai';
import { toClaimedDrop } from '#src/daemon/claimed-drop.js';
import { Claiming } from '#src/daemon/claiming.js';
import { publisherContext } from '#src/daemon/daemon.js';
import { prepareInbox } from '#src/inbox/claim.js';
import { scan } from '#src/inbox/scan-job.js';
import type { ClaimedDrop } from '#src/publisher/drop-record.js';
import { Publisher } from '#src/publisher/publisher.js';
import type { StageRequest } from '#src/publisher/stored-drop.js';
import { stage } from '#src/staging/stage.js';
import { nodeDisk } from '#src/storage/disk.js';
import type { Job } from '#src/storage/job.js';
import { layerBytes, makeLayout, sha256, TestContent } from '../support/make-image.js';
import { makeTar, tarMembers } from '../support/make-tar.js';
import { readRepository } from '../support/outside-reader.js';
import { receipts, type TestServices, testServices } from '../support/service.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { waitFor } from '../support/wait-for.js';

const YAML = `
settle: {quiet: 1ms}
retry: {first: 20ms, most: 100ms}
repositories:
  team/fixed: {immutableTags: true}
`;

describe('the order of drops', () => {
  let root: string;
  let services: TestServices;
  let publisher: Publisher;
  let bugs: unknown[];
  let returned: string[];
  /** Lets go on what is held up. */
  const held: (() => void)[] = [];
  /** Called before a drop is read by a job of its own. */
  let beforeReading: (drop: string) => Promise<void> | undefined;

  beforeEach(async () => {
    root = tempDir();
    bugs = [];
    returned = [];
    beforeReading = () => undefined;
    services = await testServices(root, { disk: nodeDisk, yaml: YAML });
    const { run, inbox } = services;
    const slowly = async (job: Job<unknown, unknown>, request: unknown) => {
      if (job === stage) await beforeReading((request as StageRequest).drop.name);
      return run(job, request);
    };
    Object.assign(services, { run: slowly });
    await run(prepareInbox, { inbox });
    publisher = new Publisher(publisherContext(services), {
      onBug: (error) => bugs.push(error),
      onPublished: () => {},
      onReturned: ({ name }) => returned.push(name),
      onFinished: () => {},
    });
  });
  afterEach(async () => {
    for (const goOn of held.splice(0)) goOn();
    await publisher.stop();
    await services.close();
    removeTempDirs();
    expect(bugs).to.deep.equal([]);
  });

  const place = (name: string) => join(root, 'inbox', name);
  const tags = (id = 'app') => readRepository(join(root, 'published'), id)?.tags;
  const known = () => receipts(root).map(({ drop, status }) => `${drop} ${status}`);
  const finished = (count: number) =>
    waitFor(`${count} receipts`, () => receipts(root).length >= count);

  /** @returns the digest of its image */
  const dropDirectory = (name: string, layer: string) =>
    makeLayout(place(name), { layers: [layer], tag: '1' }).digest;
  function packArchive(layer: string, lacks: { readonly omit?: readonly string[] } = {}) {
    const content = new TestContent();
    const image = content.image({ layers: [layer] });
    const layout = join(tempDir(), 'layout');
    content.writeLayout(layout, [{ image, tag: '1' }], lacks);
    return { digest: image.digest, bytes: makeTar(tarMembers(layout)) };
  }
  function dropArchive(...[name, ...given]: [string, ...Parameters<typeof packArchive>]): string {
    const { digest, bytes } = packArchive(...given);
    writeFileSync(place(name), bytes);
    return digest;
  }

  /** Claims a drop, and what is small of it is stored. @param isDue its time is up: its end is known */
  async function claim(name: string, isDue = false): Promise<ClaimedDrop> {
    const { run, inbox } = services;
    const { drops } = await run(scan, { inbox, marker: undefined });
    const seen = drops.find(({ path }) => path === name);
    if (seen === undefined) throw new Error(`${name} was not seen`);
    const claimed = await new Claiming(services).claim(seen, isDue);
    if (typeof claimed.claim !== 'object') throw new Error(`${name} was not claimed`);
    const { kind } = seen;
    const given = { path: name, kind, look: undefined, tolerateAbsent: isDue, held: claimed.held };
    return toClaimedDrop(services, claimed.claim, given);
  }

  /** @returns what lets the reading of this drop go on */
  function holdUp(name: string): { readonly isHeld: () => boolean; readonly goOn: () => void } {
    let isHeld = false;
    let goOn = () => {};
    const gate = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    held.push(goOn);
    beforeReading = (drop) => {
      if (drop !== name) return undefined;
      isHeld = true;
      return gate;
    };
    return { isHeld: () => isHeld, goOn };
  }

  it('is the order of claims: the later drop wins, though the earlier one is slow to read', async () => {
    dropArchive('app:1.tar', 'early');
    const late = dropDirectory('app:1@late', 'late');
    dropDirectory('other:1', 'other');
    const slow = holdUp('app:1.tar');
    for (const name of ['app:1.tar', 'app:1@late', 'other:1']) publisher.add(await claim(name));
    await waitFor('the archive to be read', slow.isHeld);
    // Another repository does not wait for it.
    await finished(1);
    expect(known()).to.deep.equal(['other:1 published']);
    expect(tags()).to.equal(undefined);
    slow.goOn();
    await finished(3);
    expect(known()).to.include.members(['app:1.tar published', 'app:1@late published']);
    expect(tags()).to.deep.equal({ 1: late });
  });

  it('is the order of claims also when the later drop is slow to read', async () => {
    const early = dropDirectory('app:1', 'early');
    const late = dropArchive('app:1@late.tar', 'late');
    const slow = holdUp('app:1@late.tar');
    for (const name of ['app:1', 'app:1@late.tar']) publisher.add(await claim(name));
    // Nothing that comes later holds up what is ready.
    await finished(1);
    expect(tags()).to.deep.equal({ 1: early });
    slow.goOn();
    await finished(2);
    expect(tags()).to.deep.equal({ 1: late });
  });

  it('does not block drops behind a rejected drop', async () => {
    dropArchive('app:1.tar', 'bad', { omit: [sha256(layerBytes('bad'))] });
    const late = dropDirectory('app:1@late', 'late');
    const slow = holdUp('app:1.tar');
    publisher.add(await claim('app:1.tar', true));
    publisher.add(await claim('app:1@late'));
    await waitFor('the archive to be read', slow.isHeld);
    expect(receipts(root)).to.deep.equal([]);
    slow.goOn();
    await finished(2);
    expect(known()).to.have.members(['app:1.tar rejected', 'app:1@late published']);
    expect(tags()).to.deep.equal({ 1: late });
  });

  it('does not block drops behind an unreadable drop, which is retried later', async () => {
    dropArchive('app:1.tar', 'early');
    dropDirectory('app:2', 'late');
    let isBroken = true;
    beforeReading = () => {
      if (!isBroken) return undefined;
      throw Object.assign(new Error('EIO: made up'), { code: 'EIO', syscall: 'read' });
    };
    for (const name of ['app:1.tar', 'app:2']) publisher.add(await claim(name));
    await finished(1);
    expect(known()).to.deep.equal(['app:2 published']);
    isBroken = false;
    await finished(2);
    expect(known()).to.have.members(['app:2 published', 'app:1.tar published']);
    expect(tags()).to.have.keys('1', '2');
  });

  it('does not block drops behind a drop that is returned to the inbox', async () => {
    const archive = 'app:1.tar.gz';
    writeFileSync(place(archive), gzipSync(packArchive('early').bytes).subarray(0, 100));
    const late = dropDirectory('app:1@late', 'late');
    const slow = holdUp(archive);
    for (const name of [archive, 'app:1@late']) publisher.add(await claim(name));
    await waitFor('the archive to be read', slow.isHeld);
    slow.goOn();
    await waitFor('its return', () => returned.length > 0);
    await finished(1);
    expect(returned).to.deep.equal([archive]);
    expect(existsSync(place(archive))).to.equal(true);
    expect(tags()).to.deep.equal({ 1: late });
  });

  describe('of a bundle', () => {
    function dropBundle(name: string, ...images: readonly (readonly [string, string])[]): void {
      const content = new TestContent();
      const roots = images.map(([tag, layer]) => ({
        image: content.image({ layers: [layer] }),
        tag,
      }));
      content.writeLayout(place(name), roots);
    }

    it('is irrelevant when one repository rejects its part: the bundle publishes nothing', async () => {
      mkdirSync(place('team'));
      const fixed = dropDirectory('team/fixed:1', 'one');
      publisher.add(await claim('team/fixed:1'));
      await finished(1);
      dropBundle('team/@all', ['free:1', 'two'], ['fixed:1', 'two']);
      publisher.add(await claim('team/@all'));
      await finished(2);
      expect(receipts(root)[1]).to.include({ status: 'rejected', code: 'tag.immutable' });
      expect(readdirSync(join(root, 'published', 'web'))).to.deep.equal(['team~fixed']);
      expect(tags('team~fixed')).to.deep.equal({ 1: fixed });
    });

    it('is irrelevant when all repositories accept their parts: each gets its own', async () => {
      dropBundle('@all', ['team/free:1', 'one'], ['team/fixed:1', 'two']);
      publisher.add(await claim('@all'));
      await finished(1);
      expect(known()).to.deep.equal(['@all published']);
      expect(['team~free', 'team~fixed'].map((id) => Object.keys(tags(id) ?? {}))).to.deep.equal([
        ['1'],
        ['1'],
      ]);
    });
  });

  it('does not delay shutdown for drops whose reading has not started', async () => {
    const begun: string[] = [];
    beforeReading = (drop) => {
      begun.push(drop);
      return new Promise<void>((goOn) => held.push(goOn));
    };
    for (let at = 0; at < 12; at++) {
      dropArchive(`app${at}:1.tar`, `layer ${at}`);
      publisher.add(await claim(`app${at}:1.tar`));
    }
    await waitFor('all that are read at once', () => begun.length === 8);
    const stopped = publisher.stop();
    for (const goOn of held.splice(0)) goOn();
    await stopped;
    expect(begun).to.have.length(8);
  });
});
