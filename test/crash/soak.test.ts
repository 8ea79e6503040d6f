/**
 * Goal: a long run leaves no traces. Method: a real daemon, many repositories, an endless sequence of
 * good and bad drops; the daemon is killed and restarted, the disk fills up, directories become
 * unwritable, repositories are rolled back, untagged and removed. At the end every repository is as its
 * uploaders expect, `verify` finds nothing, nothing is left over, and memory, descriptors, inodes and
 * disk usage are unchanged. DROPDOCK_TEST_SOAK sets the length, DROPDOCK_TEST_SEED repeats a run.
 */
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import { DaemonProcess, dropdock } from '../support/daemon-process.js';
import { readRepository } from '../support/outside-reader.js';
import { makeRandom } from '../support/random.js';
import { type Resources, resourcesOf } from '../support/resources.js';
import { removeTempDirs } from '../support/temp-dir.js';
import { waitFor } from '../support/wait-for.js';
import { SoakDrops } from './soak-drops.js';
import { SoakPlace } from './soak-place.js';

const SEED = Number(process.env.DROPDOCK_TEST_SEED ?? Date.now() % 2 ** 31);
const DROPS = Number(process.env.DROPDOCK_TEST_SOAK ?? 200);
const REPOSITORIES = Math.min(500, Math.ceil(DROPS / 15));
/** Drops on their way at once; few enough that some repositories rest. */
const WIDTH = Math.min(64, Math.ceil(REPOSITORIES / 2));
/** After so much of it the daemon is no longer killed, so that its memory can be watched. */
const KILLED_UNTIL = 0.6;
const FAULTS = Math.max(4, DROPS / 400);
const EDITS = Math.max(6, DROPS / 100);
const YAML = `settle: {quiet: 20ms, timeout: 2s}
inbox: {scan: 500ms}
retry: {first: 50ms, most: 300ms}
retention: {keep: 2, grace: 2s, interval: 2s}
lock: {stale: 2s}
`;

describe('a soak test', function () {
  this.timeout(60_000 + DROPS * 200);
  let place: SoakPlace;
  let drops: SoakDrops;
  let daemon: DaemonProcess;
  const random = makeRandom(SEED);
  const done = { kill: 0, full: 0, unwritable: 0, rollback: 0, untag: 0, remove: 0 };
  const samples: (Resources & { drops: number })[] = [];

  before(() => {
    place = new SoakPlace(DROPS < 5000 ? 200 : 1500);
    const names = Array.from({ length: REPOSITORIES }, (_, n) => `team${n % 10}/app${n}`);
    drops = new SoakDrops(place.root, names, random);
  });

  after(async () => {
    await daemon?.stop('SIGKILL');
    place?.remove();
    removeTempDirs();
  });

  const command = (...given: string[]) =>
    dropdock(...given, '--root', place.root, '--config', join(place.root, 'test.yaml'));
  const published = () => join(place.root, 'published');
  const tagsOf = (repository: string) =>
    readRepository(published(), repository.replace('/', '~'))?.tags ?? {};

  async function fault(): Promise<void> {
    const dice = drops.made < DROPS * KILLED_UNTIL ? random() : 0.5 + random() / 2;
    if (dice < 0.5) {
      done.kill++;
      await daemon.stop('SIGKILL');
      daemon = await DaemonProcess.start(place.root, { yaml: YAML });
      return;
    }
    if (dice < 0.75) {
      done.full++;
      place.fill();
    } else {
      done.unwritable++;
      place.makeUnwritable(Math.floor(random() * 100));
    }
    await delay(100 + random() * 500);
    place.relieve();
  }

  /** On a repository without pending drops, so that the result is known. */
  async function edit(): Promise<void> {
    const repository = drops.pick(drops.repositories);
    const tags = drops.tags.get(repository);
    if (tags === undefined || tags.size === 0 || drops.isWaitedFor(repository)) return;
    const kind = drops.pick(['rollback', 'untag', 'remove'] as const);
    const given = kind === 'untag' ? [drops.pick([...tags.keys()])] : [];
    const { code, stderr } = await command(kind, repository, ...given);
    if (kind === 'rollback') {
      // There may be nothing earlier to go back to.
      if (code !== 0) expect(stderr).to.include('snapshot');
      const now = Object.entries(tagsOf(repository));
      for (const [tag, digest] of now) {
        expect(drops.everWas(repository, tag, digest), `${repository}:${tag}`).to.equal(true);
      }
      drops.tags.set(repository, new Map(now));
    } else {
      expect(code, stderr).to.equal(0);
      for (const tag of kind === 'remove' ? tags.keys() : given) tags.delete(tag);
    }
    done[kind]++;
  }

  function sample(): void {
    const now = resourcesOf(daemon.child.pid ?? 0, place.root);
    samples.push({ drops: drops.made, ...now });
  }

  it(`leaves a consistent tree after ${DROPS} drops on ${REPOSITORIES} repositories`, async () => {
    console.info(`      seed ${SEED}`);
    daemon = await DaemonProcess.start(place.root, { yaml: YAML });
    const began = performance.now();
    let faultAt = DROPS / FAULTS;
    let editAt = DROPS / EDITS;
    let sampleAt = 0;
    for (let heardMs = began; drops.made < DROPS || drops.waiting > 0; ) {
      for (let n = 0; n < WIDTH && drops.waiting < WIDTH && drops.made < DROPS; n++) drops.make();
      if (drops.collect() > 0) heardMs = performance.now();
      drops.takeAway();
      if (daemon.child.exitCode !== null)
        throw new Error(`it ended: ${daemon.output.slice(-5000)}`);
      if (performance.now() - heardMs > 30_000) throw new Error(daemon.output.slice(-5000));
      if (drops.made >= sampleAt && drops.made < DROPS) {
        sample();
        sampleAt += DROPS / 20;
      }
      if (drops.made >= faultAt) {
        faultAt += (random() * 2 * DROPS) / FAULTS;
        await fault();
      } else if (drops.made >= editAt) {
        editAt += (random() * 2 * DROPS) / EDITS;
        await edit();
      }
      await delay(5);
    }
    const seconds = Math.round((performance.now() - began) / 1000);
    sample();
    console.info(`      ${seconds} s, ${JSON.stringify({ ...drops.tally, ...done })}`);
    if (DROPS >= 5000) for (const each of samples) console.info(`      ${JSON.stringify(each)}`);
    await expectAllAsItShouldBe();
    if (DROPS >= 5000) expectFlat();
  });

  async function expectAllAsItShouldBe(): Promise<void> {
    for (const [repository, tags] of drops.tags) {
      expect(tagsOf(repository), repository).to.deep.equal(Object.fromEntries(tags));
    }
    drops.takeAway(true);
    for (const name of ['.claimed', '.receipts', '.rejected']) {
      const directory = join(place.root, 'inbox', name);
      await waitFor(`an empty ${name}`, () => readdirSync(directory).length === 0);
    }
    const left = () =>
      ['work', 'trash'].flatMap((name) => readdirSync(join(place.root, 'state', name)));
    await waitFor('no leftovers', () => left().length === 0);
    expect(daemon.child.exitCode).to.equal(null);
    expect(await daemon.stop()).to.equal(0);
    expect((await command('clean')).code).to.equal(0);
    const { code, stdout } = await command('verify');
    expect(code, stdout).to.equal(0);
    console.info(`      verify: ${stdout.trim()}`);
    // What the last snapshots leave behind is kept for a grace period of its own.
    await waitFor('no unused content', async () => {
      await command('clean');
      const content = join(place.root, 'state', 'content');
      const unused = execFileSync('find', [content, '-type', 'f', '-links', '1']);
      return unused.length === 0;
    });
  }

  /** In the last part of its life, when all repositories are there, nothing grows any more. */
  function expectFlat(): void {
    const rest = samples.filter((each) => each.drops >= DROPS * KILLED_UNTIL);
    const middle = (from: number, key: keyof Resources) => {
      const values = rest.slice(from, from + 3).map((each) => each[key]);
      return values.sort((a, b) => a - b)[1] ?? 0;
    };
    const grown = (key: keyof Resources) => middle(rest.length - 3, key) / middle(1, key);
    expect(grown('memory'), 'memory').to.be.lessThan(1.25);
    expect(grown('descriptors'), 'descriptors').to.be.lessThan(1.25);
    expect(grown('inodes'), 'inodes').to.be.lessThan(1.15);
    expect(grown('disk'), 'disk').to.be.lessThan(1.15);
  }
});
