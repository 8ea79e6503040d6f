/**
 * I9 and I1 over HTTP, for every way of serving: while tags move, change their type and vanish, and
 * while repositories are removed and come again, no pull fails, none is mixed of two snapshots, and
 * nobody is told that a tag that moved is what it was. DROPDOCK_TEST_FLIPS sets the length,
 * DROPDOCK_TEST_SEED repeats a run.
 */
import { expect } from 'chai';
import { DaemonProcess } from '../support/daemon-process.js';
import { MovingTree } from '../support/moving-tree.js';
import { describeTally, pullUnderFlips, type Way } from '../support/pull-under-flips.js';
import { makeRandom } from '../support/random.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';

const SEED = Number(process.env.DROPDOCK_TEST_SEED ?? Date.now() % 2 ** 31);
const FLIPS = Number(process.env.DROPDOCK_TEST_FLIPS ?? 200);

describe('pulls while everything moves', function () {
  this.timeout(60_000 + FLIPS * 1000);

  it(`all end well, through ${FLIPS} flips`, async () => {
    console.info(`      seed ${SEED}`);
    const root = tempDir();
    const repositories = ['app', 'base', 'tool', 'web'];
    const tree = await MovingTree.make(root, { repositories, random: makeRandom(SEED) });
    const serve = await DaemonProcess.start(root, { command: 'serve' });
    const ways: Way[] = [{ name: 'dropdock', url: serve.url }];
    try {
      const tallies = await pullUnderFlips(tree, ways, { flips: FLIPS, clients: 4 });
      for (const tally of tallies) console.info(`      ${describeTally(tally)}`);
      for (const { way, pulls, notModified, failures } of tallies) {
        expect(failures, way).to.deep.equal([]);
        expect(pulls, way).to.be.greaterThan(FLIPS / 4);
        expect(notModified, way).to.be.greaterThan(0);
      }
    } finally {
      await serve.stop();
      await tree.close();
      removeTempDirs();
    }
  });
});
