/**
 * I9 and I1 over HTTP, for every way of serving: while tags move, change their type and are removed, and
 * while repositories are removed and restored, no pull fails, none mixes two snapshots, and no client
 * receives "not modified" for a moved tag. DROPDOCK_TEST_FLIPS sets the length, DROPDOCK_TEST_SEED
 * repeats a run.
 */

import { join } from 'node:path';
import { expect } from 'chai';
import { crane } from '../support/crane-server.js';
import { DaemonProcess } from '../support/daemon-process.js';
import { openTempDir } from '../support/for-everybody.js';
import { MovingTree } from '../support/moving-tree.js';
import { describeTally, pullUnderFlips, type Way } from '../support/pull-under-flips.js';
import { makeRandom } from '../support/random.js';
import { removeTempDirs } from '../support/temp-dir.js';
import { needTools } from '../support/tools.js';
import { apache, nginxAlone, nginxWithDropdock } from '../support/web-servers.js';

const SEED = Number(process.env.DROPDOCK_TEST_SEED ?? Date.now() % 2 ** 31);
const FLIPS = Number(process.env.DROPDOCK_TEST_FLIPS ?? 200);
const CRANE_POLL_MS = 50;

describe('pulls while the tree changes constantly', function () {
  this.timeout(60_000 + FLIPS * 1000);
  const ends: (() => Promise<unknown>)[] = [];
  let tree: MovingTree;
  let ways: Way[];

  before(async function () {
    needTools(this, 'nginx', 'apache2');
    // Apache gives up root, and the tree is to be read by everybody anyway.
    const root = openTempDir();
    const published = join(root, 'published');
    const files = await apache(published);
    ends.push(files.stop);
    const url = `${files.url}/pulp/docker/snapshots/{id}/{snapshot}/`;
    tree = await MovingTree.make(root, {
      repositories: ['app', 'base', 'tool', 'web'],
      random: makeRandom(SEED),
      yaml: `retention: {keep: 1, grace: 10m}\nredirect: {url: "${url}"}\n`,
    });
    const serve = async (blobs: string) => {
      const yaml = `registry: {listen: "127.0.0.1:0", blobs: ${blobs}}\n`;
      const endpoint = await DaemonProcess.start(root, { command: 'serve', yaml });
      ends.push(() => endpoint.stop());
      return endpoint;
    };
    const alone = await serve('stream');
    const behind = await serve('x-accel');
    const servers = [
      await nginxAlone(published),
      await nginxWithDropdock(published, behind.registry),
      await crane(join(published, 'app'), CRANE_POLL_MS),
    ] as const;
    for (const { stop } of servers) ends.push(stop);
    ways = [
      { name: 'dropdock', url: alone.url },
      { name: 'nginx', url: servers[0].url },
      { name: 'nginx and dropdock', url: servers[1].url },
      // A look and a load; on a busy machine the timer may be late.
      { name: 'Apache and Crane', url: servers[2].url, behindMs: CRANE_POLL_MS + 500 },
    ];
  });

  after(async () => {
    for (const end of ends) await end();
    await tree?.close();
    removeTempDirs();
  });

  it(`all succeed through ${FLIPS} flips, on all four ways of serving`, async () => {
    console.info(`      seed ${SEED}`);
    const tallies = await pullUnderFlips(tree, ways, { flips: FLIPS, clients: 2 });
    for (const tally of tallies) console.info(`      ${describeTally(tally)}`);
    for (const { way, pulls, notModified, failures } of tallies) {
      expect(failures, way).to.deep.equal([]);
      expect(pulls, way).to.be.greaterThan(FLIPS / 4);
      expect(notModified, way).to.be.greaterThan(0);
    }
  });
});
