/**
 * Goal: a tree made ahead of time changes nothing but how long the next publish takes. Method: the same
 * drops published with and without it give the same files; what was made of another snapshot, what
 * somebody else put in, what a failure left, is never published.
 */
import {
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { readClock } from '#src/disk/clock.js';
import { type Disk, nodeDisk } from '#src/disk/disk.js';
import { deliver, dropPath, prepareSweep, SWEPT_DROP, SWEPT_ID } from '../support/deliver.js';
import { countingDisk, interfereWith, systemError } from '../support/faulty-disk.js';
import { makeLayout, TestContent, type TestDescriptor } from '../support/make-image.js';
import { readRepository } from '../support/outside-reader.js';
import { makeRandom } from '../support/random.js';
import { handsOf, type TestServices, testServices } from '../support/service.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';

const SEED = Number(process.env.DROPDOCK_TEST_SEED ?? Date.now() % 2 ** 31);
const ID = 'app' as never;

describe('a tree made ahead of time', () => {
  afterEach(removeTempDirs);

  const open = async (yaml = '', disk: Disk = nodeDisk) => {
    const root = tempDir();
    mkdirSync(join(root, 'inbox'), { recursive: true });
    const services = await testServices(root, { disk, yaml });
    await services.run('prepareInbox', { inbox: services.inbox });
    return { root, services };
  };
  const prepare = ({ run, roots, owner }: TestServices, id: never = ID) =>
    run('prepareNext', { roots, id, owner: owner.token });
  const ready = (root: string) =>
    readdirSync(join(root, 'state/work')).filter((name) => name.includes('-ready-'));
  const publish = async (root: string, services: TestServices, ...layers: string[]) => {
    makeLayout(dropPath(root, 'app'), { tag: layers.at(-1) ?? '', layers });
    return deliver(services, 'app');
  };
  const current = (root: string, ...path: string[]) => join(root, 'published/web/app', ...path);
  const listed = (root: string) =>
    readdirSync(current(root), { recursive: true, withFileTypes: true })
      .map((entry) => join(entry.parentPath, entry.name).slice(current(root).length))
      .sort();

  for (const mode of ['merge', 'replace']) {
    it(`gives the same files as none, ${mode}`, async () => {
      console.info(`      seed ${SEED}`);
      const random = makeRandom(SEED);
      const yaml = `settle: {quiet: 50ms}\nretention: {grace: 0s, keep: 2}\nrepositories: {app: {mode: ${mode}}}\n`;
      const [ahead, plain] = [await open(yaml), await open(yaml)];
      let isUnchanged = false;
      for (let n = 0; n < 12; n++) {
        const write = randomDrop(random);
        for (const { root } of [ahead, plain]) write(dropPath(root, 'app'));
        // What changed nothing has left the tree where it was.
        const links = n > 0 ? await prepare(ahead.services) : undefined;
        if (links !== undefined) expect(links > 2, `links ${links}`).to.equal(!isUnchanged);
        const before = n > 0 ? inodesOfTags(ahead.root) : new Map();
        const outcome = await deliver(ahead.services, 'app');
        isUnchanged = outcome?.status === 'unchanged';
        await deliver(plain.services, 'app');
        const what = `drop ${n}, seed ${SEED}`;
        expect(listed(ahead.root), what).to.deep.equal(listed(plain.root));
        const [with_, without] = [ahead, plain].map(({ root }) =>
          readRepository(join(root, 'published'), 'app'),
        );
        expect(with_?.tags, what).to.deep.equal(without?.tags);
        const { run, roots } = ahead.services;
        expect((await run('verifyRepository', { roots, id: ID })).findings).to.deep.equal([]);
        // A tag that moved is a fresh file; one that did not is the same.
        const moved = new Set(
          outcome && 'moves' in outcome ? outcome.moves.map(({ tag }) => String(tag)) : [],
        );
        for (const [path, inode] of inodesOfTags(ahead.root)) {
          const tag = path.split('/').at(-1) ?? '';
          if (before.has(path)) expect(inode === before.get(path)).to.equal(!moved.has(tag), path);
        }
      }
      await Promise.all([ahead.services.close(), plain.services.close()]);
    });
  }

  it('gives the same files as none when it was made of an older snapshot', async () => {
    console.info(`      seed ${SEED}`);
    const taken = { older: 0 };
    const counting = interfereWith(nodeDisk, ({ verb, paths }) => {
      const isTaken = verb === 'rename' && /-ready-.* \S+\/tree$/.test(paths);
      if (isTaken && !paths.includes(`/${newest}@`)) taken.older++;
    });
    let newest = '';
    // One after the other: a thread remembers one repository.
    const publishAll = async (disk: Disk, isAhead: boolean) => {
      const random = makeRandom(SEED);
      const { root, services } = await open('retention: {grace: 0s, keep: 3}\n', disk);
      const seen: unknown[] = [];
      for (let n = 0; n < 24; n++) {
        randomDrop(random)(dropPath(root, 'app'));
        const { run, roots, owner } = services;
        if (isAhead && n % 4 === 1) {
          await run('prepareNext', { roots, id: ID, owner: owner.token, wanted: 3 });
        }
        newest = n === 0 ? '' : (readlinkSync(current(root)).split('/').at(-1) ?? '');
        const before = n === 0 ? new Map() : inodesOfTags(root);
        const outcome = await deliver(services, 'app');
        const moves = outcome && 'moves' in outcome ? outcome.moves : [];
        const moved = new Set(moves.map(({ tag }) => String(tag)));
        for (const [path, inode] of inodesOfTags(root)) {
          if (!before.has(path)) continue;
          const isMoved = moved.has(path.split('/').at(-1) ?? '');
          expect(inode === before.get(path), `${path}, drop ${n}, seed ${SEED}`).to.equal(!isMoved);
        }
        const { findings } = await run('verifyRepository', { roots, id: ID });
        expect(findings, `drop ${n}, seed ${SEED}`).to.deep.equal([]);
        seen.push([listed(root), readRepository(join(root, 'published'), 'app')?.tags]);
      }
      await services.close();
      return seen;
    };
    const ahead = await publishAll(counting, true);
    expect(ahead, `seed ${SEED}`).to.deep.equal(await publishAll(nodeDisk, false));
    expect(taken.older, 'older trees that were of use').to.be.greaterThan(3);
  });

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

  it('is thrown away when it was made of another snapshot', async () => {
    const { root, services } = await open();
    const other = await testServices(root, { disk: nodeDisk });
    await publish(root, services, 'base', '1');
    await prepare(services);
    await publish(root, other, 'base', '2');
    expect(ready(root)).to.have.length(1);
    await publish(root, services, 'base', '3');
    expect(ready(root)).to.deep.equal([]);
    const tags = Object.keys(readRepository(join(root, 'published'), 'app')?.tags ?? {});
    expect(tags).to.deep.equal(['1', '2', '3']);
    await Promise.all([services.close(), other.close()]);
  });

  it('passes nothing on that somebody put into it, or into the snapshot', async () => {
    const { root, services } = await open();
    await publish(root, services, 'base', '1');
    linkSync(current(root, 'tags/list'), current(root, 'blobs/stranger'));
    await prepare(services);
    const [name = ''] = ready(root);
    const [version = ''] = readdirSync(join(root, 'state/work', name));
    writeFileSync(join(root, 'state/work', name, version, 'manifests/2/another'), 'x');
    await publish(root, services, 'base', '2');
    expect(listed(root).filter((path) => /stranger|another/.test(path))).to.deep.equal([]);
    await services.close();
  });

  it('is made once, and again when there is something new', async () => {
    const { root, services } = await open();
    expect(await prepare(services), 'nothing is published').to.equal(0);
    await publish(root, services, 'base', '1');
    expect(await prepare(services)).to.be.greaterThan(0);
    expect(await prepare(services)).to.equal(0);
    await publish(root, services, 'base', '2');
    expect(await prepare(services)).to.be.greaterThan(0);
    expect(ready(root)).to.have.length(1);
    await services.close();
  });

  it('goes when somebody else publishes, when content is repaired, and with its process', async () => {
    const { root, services } = await open();
    const other = await testServices(root, { disk: nodeDisk });
    const { run, roots, owner } = services;
    await publish(root, services, 'base', '1');
    await prepare(services);
    const ours = { roots, owner: owner.token };
    expect(await run('discardPrepared', ours), 'it may be of use').to.equal(0);
    await publish(root, other, 'base', '2');
    expect(await run('discardPrepared', ours)).to.equal(1);
    await prepare(services);
    const redirect = {
      urlTemplate: 'https://x/',
      protected: false,
      redirectOci: 'convert',
    } as const;
    await other.run('repairRepository', { roots, id: ID, owner: other.owner.token, redirect });
    expect(ready(root)).to.deep.equal([]);
    await prepare(services);
    await other.run('trashAbandonedWork', { roots, dead: [owner.token] });
    expect(ready(root)).to.deep.equal([]);
    await Promise.all([services.close(), other.close()]);
  });

  it('keeps no unused content from being swept', async () => {
    const { root, services } = await open('retention: {grace: 0s}\n');
    const { run, roots } = services;
    await publish(root, services, 'base', '1');
    await prepare(services);
    mkdirSync(join(root, 'state/content/sha256/ab'), { recursive: true });
    writeFileSync(join(root, 'state/content/sha256/ab', 'ab'.repeat(32)), 'unused');
    const swept = await run('sweep', {
      roots,
      nowMs: Date.now() + 1000,
      clock: readClock(),
      graceMs: 0,
    });
    expect(swept.files).to.equal(1);
    await services.close();
  });

  it('leaves old or new when a call fails while it is made or used, and the next try succeeds', async () => {
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
        await prepare(again, SWEPT_ID as never);
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
      await prepare({ ...services, run }, SWEPT_ID as never);
      await deliver({ ...services, run }, SWEPT_DROP);
    } catch (thrown) {
      error = thrown;
    }
    await services.close();
    return { root, look, error };
  }
});

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
