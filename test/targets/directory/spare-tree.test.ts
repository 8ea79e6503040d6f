/**
 * Goal: a spare tree changes only the duration of the next publish. Method: publishing the same drops
 * with and without it gives the same files; files made for another snapshot, added by other processes, or
 * left by a failure are never published.
 */
import { existsSync, linkSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { prepareInbox } from '#src/inbox/claim.js';
import { readClock } from '#src/storage/clock.js';
import { type Disk, nodeDisk } from '#src/storage/disk.js';
import { trashAbandonedWork } from '#src/targets/directory/recover.js';
import { repairRepository } from '#src/targets/directory/repair.js';
import { discardSpareTrees, makeSpareTree } from '#src/targets/directory/spare-tree.js';
import { sweep } from '#src/targets/directory/sweep.js';
import { verifyRepository } from '#src/targets/directory/verify-tree.js';
import { deliver, dropPath, prepareSweep, SWEPT_DROP, SWEPT_ID } from '../../support/deliver.js';
import { countingDisk, interfereWith, systemError } from '../../support/faulty-disk.js';
import { makeLayout, TestContent, type TestDescriptor } from '../../support/make-image.js';
import { readRepository } from '../../support/outside-reader.js';
import { makeRandom } from '../../support/random.js';
import { handsOf, type TestServices, testServices } from '../../support/service.js';
import { removeTempDirs, tempDir } from '../../support/temp-dir.js';

const SEED = Number(process.env.DROPDOCK_TEST_SEED ?? Date.now() % 2 ** 31);
const ID = 'app' as never;

describe('a spare tree', () => {
  afterEach(removeTempDirs);

  const open = async (yaml = '', disk: Disk = nodeDisk) => {
    const root = tempDir();
    mkdirSync(join(root, 'inbox'), { recursive: true });
    const services = await testServices(root, { disk, yaml });
    await services.run(prepareInbox, { inbox: services.inbox });
    return { root, services };
  };
  const make = ({ run, roots, owner }: TestServices, id: never = ID, stop = newStopFlag()) =>
    run(makeSpareTree, { roots, id, owner: owner.token, stop });
  const spares = (root: string) =>
    readdirSync(join(root, 'state/work'))
      .filter((name) => name.includes('-spare-'))
      .flatMap((name) => readdirSync(join(root, 'state/work', name)));
  const publish = async (root: string, services: TestServices, ...layers: string[]) => {
    makeLayout(dropPath(root, 'app'), { tag: layers.at(-1) ?? '', layers });
    return deliver(services, 'app');
  };
  const current = (root: string, ...path: string[]) => join(root, 'published/web/app', ...path);
  const listed = (root: string) =>
    readdirSync(current(root), { recursive: true, withFileTypes: true })
      .map((entry) => join(entry.parentPath, entry.name).slice(current(root).length))
      .sort();

  for (const [mode, isStopped] of [
    ['merge', false],
    ['replace', false],
    ['merge', true],
    ['replace', true],
  ] as const) {
    it(`produces the same files as without it, ${mode}${isStopped ? ', made in part' : ''}`, async () => {
      console.info(`      seed ${SEED}`);
      const random = makeRandom(SEED);
      const yaml = `settle: {quiet: 50ms}\nretention: {grace: 0s, keep: 2}\nrepositories: {app: {mode: ${mode}}}\n`;
      const links = { left: Number.POSITIVE_INFINITY, stop: newStopFlag() };
      const stopping = interfereWith(nodeDisk, ({ verb }) => {
        if (verb === 'link' && --links.left === 0) links.stop.fill(1);
      });
      const [spare, plain] = [await open(yaml, stopping), await open(yaml)];
      let stoppedCount = 0;
      let isUnchanged = false;
      for (let n = 0; n < 12; n++) {
        const what = `drop ${n}, seed ${SEED}`;
        const write = randomDrop(random);
        for (const { root } of [spare, plain]) write(dropPath(root, 'app'));
        // What changed nothing has left the tree where it was.
        links.left = isStopped ? 1 + Math.floor(random() * 12) : Number.POSITIVE_INFINITY;
        links.stop = newStopFlag();
        const isMade = n > 0 ? await make(spare.services, ID, links.stop) : undefined;
        stoppedCount += links.stop[0] ?? 0;
        if (isMade !== undefined) expect(isMade).to.equal(!isUnchanged);
        const before = n > 0 ? inodesOfTags(spare.root) : new Map();
        const outcome = await deliver(spare.services, 'app');
        isUnchanged = outcome?.status === 'unchanged';
        if (n > 0) expect(spares(spare.root), what).to.have.length(isUnchanged ? 1 : 0);
        await deliver(plain.services, 'app');
        expect(listed(spare.root), what).to.deep.equal(listed(plain.root));
        const [with_, without] = [spare, plain].map(({ root }) =>
          readRepository(join(root, 'published'), 'app'),
        );
        expect(with_?.tags, what).to.deep.equal(without?.tags);
        const { run, roots } = spare.services;
        expect((await run(verifyRepository, { roots, id: ID })).findings).to.deep.equal([]);
        // A tag that moved is a fresh file; one that did not is the same.
        const moved = new Set(
          outcome && 'moves' in outcome ? outcome.moves.map(({ tag }) => String(tag)) : [],
        );
        for (const [path, inode] of inodesOfTags(spare.root)) {
          const tag = path.split('/').at(-1) ?? '';
          if (before.has(path)) expect(inode === before.get(path)).to.equal(!moved.has(tag), path);
        }
      }
      expect(stoppedCount > 0).to.equal(isStopped);
      await Promise.all([spare.services.close(), plain.services.close()]);
    });
  }

  const inodesOfTags = (root: string) =>
    new Map(
      ['oci', 'oci-index', '2', 'list'].flatMap((kind) => {
        const names = existsSync(current(root, 'manifests', kind))
          ? readdirSync(current(root, 'manifests', kind))
          : [];
        return names
          .filter((name) => !name.includes(':') && !name.startsWith('sha256-'))
          .map((name) => {
            const path = `manifests/${kind}/${name}`;
            return [path, statSync(current(root, path)).ino] as const;
          });
      }),
    );

  it('is not used for another base snapshot, and is replaced by the next one', async () => {
    const { root, services } = await open();
    const other = await testServices(root, { disk: nodeDisk });
    await publish(root, services, 'base', '1');
    await make(services);
    await publish(root, other, 'base', '2');
    const [before] = spares(root);
    await publish(root, services, 'base', '3');
    expect(spares(root)).to.deep.equal([before]);
    const tags = Object.keys(readRepository(join(root, 'published'), 'app')?.tags ?? {});
    expect(tags).to.deep.equal(['1', '2', '3']);
    await make(services);
    expect(spares(root)).to.have.length(1).and.not.include(before);
    await Promise.all([services.close(), other.close()]);
  });

  it('does not publish files that another process put into the snapshot', async () => {
    const { root, services } = await open();
    await publish(root, services, 'base', '1');
    linkSync(current(root, 'tags/list'), current(root, 'blobs/stranger'));
    expect(await make(services)).to.equal(true);
    await publish(root, services, 'base', '2');
    expect(listed(root).filter((path) => /stranger/.test(path))).to.deep.equal([]);
    await services.close();
  });

  it('is built once, and again when the snapshot has changed', async () => {
    const { root, services } = await open();
    expect(await make(services), 'nothing is published').to.equal(false);
    await publish(root, services, 'base', '1');
    expect(await make(services)).to.equal(true);
    expect(await make(services)).to.equal(false);
    await publish(root, services, 'base', '2');
    expect(spares(root), 'it was taken').to.deep.equal([]);
    expect(await make(services)).to.equal(true);
    expect(spares(root)).to.have.length(1);
    await services.close();
  });

  it('is removed before a sweep, when content is repaired, and with its process', async () => {
    const { root, services } = await open();
    const other = await testServices(root, { disk: nodeDisk });
    const { run, roots, owner } = services;
    await publish(root, services, 'base', '1');
    await make(services);
    expect(await run(discardSpareTrees, { roots, owner: other.owner.token })).to.equal(0);
    expect(await run(discardSpareTrees, { roots, owner: owner.token })).to.equal(1);
    expect(spares(root)).to.deep.equal([]);
    await make(services);
    const redirect = {
      urlTemplate: 'https://x/',
      protected: false,
      redirectOci: 'convert',
    } as const;
    await other.run(repairRepository, { roots, id: ID, owner: other.owner.token, redirect });
    expect(spares(root)).to.deep.equal([]);
    await make(services);
    await other.run(trashAbandonedWork, { roots, dead: [owner.token] });
    expect(spares(root)).to.deep.equal([]);
    await Promise.all([services.close(), other.close()]);
  });

  it('does not keep unused content from being swept', async () => {
    const { root, services } = await open('retention: {grace: 0s}\n');
    const { run, roots } = services;
    await publish(root, services, 'base', '1');
    await make(services);
    mkdirSync(join(root, 'state/content/sha256/ab'), { recursive: true });
    writeFileSync(join(root, 'state/content/sha256/ab', 'ab'.repeat(32)), 'unused');
    const swept = await run(sweep, {
      roots,
      nowMs: Date.now() + 1000,
      clock: readClock(),
      graceMs: 0,
    });
    expect(swept.files).to.equal(1);
    await services.close();
  });

  it('leaves the old or new state when a call fails, and the next attempt succeeds', async () => {
    const count = countingDisk();
    const points = await sweepPoint(count.disk);
    expect(points.error).to.equal(undefined);
    const all = count.count();
    const random = makeRandom(SEED);
    const step = Math.ceil(all / 25);
    const seen = { old: 0, new: 0 };
    for (let k = 1 + Math.floor(random() * step); k <= all; k += step) {
      const disk = interfereWith(nodeDisk, (operation) => {
        if (operation.number === k) throw systemError('EIO', operation);
      });
      const { root, look } = await sweepPoint(disk);
      seen[look()]++;
      const again = await testServices(root, { disk: nodeDisk });
      if (existsSync(dropPath(root, SWEPT_DROP))) {
        await make(again, SWEPT_ID as never);
        await deliver(again, SWEPT_DROP);
        expect(look(), `point ${k} of ${all}, seed ${SEED}`).to.equal('new');
      }
      await again.close();
    }
    expect(seen.old).to.be.greaterThan(0);
    expect(seen.new).to.be.greaterThan(0);
  });

  async function sweepPoint(disk: Disk) {
    const { root, look } = await prepareSweep();
    let error: unknown;
    const services = await testServices(root, { disk: nodeDisk });
    const { run } = handsOf(disk);
    try {
      await make({ ...services, run }, SWEPT_ID as never);
      await deliver({ ...services, run }, SWEPT_DROP);
    } catch (thrown) {
      error = thrown;
    }
    await services.close();
    return { root, look, error };
  }
});

const newStopFlag = () => new Int32Array(new SharedArrayBuffer(4));

/** @returns what writes the same drop anywhere */
function randomDrop(random: () => number): (path: string) => void {
  const pick = (count: number) => Math.floor(random() * count);
  const content = new TestContent();
  const images: { image: TestDescriptor; tag?: string }[] = [];
  for (let n = 0; n <= pick(3); n++) {
    const docker = pick(2) === 0;
    const layers = ['base', `layer ${pick(4)}`];
    const single = content.image({ layers, docker });
    const platform = { os: 'linux', architecture: 'arm64' };
    const image =
      pick(3) === 0 ? content.index([content.image({ layers, docker, platform })], docker) : single;
    images.push({ image, tag: `t${n}-${pick(3)}` });
    if (pick(2) === 0) {
      const signature = content.image({ layers: [`of ${pick(3)}`], subject: single });
      images.push({ image: signature });
    }
  }
  return (path) => content.writeLayout(path, images);
}
