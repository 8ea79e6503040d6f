/**
 * I9 and I1 over an object store: while tags move, change their type and vanish, and repositories are
 * removed and come again, no pull fails and none is mixed, whoever sends the blobs: the endpoint, the
 * store by signed URLs, nginx as a CDN. DROPDOCK_TEST_FLIPS sets the length, DROPDOCK_TEST_SEED
 * repeats a run.
 */
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import { crane } from '../support/crane-server.js';
import { DaemonProcess } from '../support/daemon-process.js';
import { sha256, TestContent } from '../support/make-image.js';
import { storeHands } from '../support/moving-hands.js';
import { MovingTree } from '../support/moving-tree.js';
import { credentialsFile } from '../support/object-stores.js';
import { describeTally, pullUnderFlips, type Way } from '../support/pull-under-flips.js';
import { makeRandom } from '../support/random.js';
import { S3Double } from '../support/s3-double.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { needTools, tool } from '../support/tools.js';
import { nginxBeforeStore, nginxInTurns } from '../support/web-servers.js';

const SEED = Number(process.env.DROPDOCK_TEST_SEED ?? Date.now() % 2 ** 31);
const FLIPS = Number(process.env.DROPDOCK_TEST_FLIPS ?? 40);
const PREFIX = 'some/where';
/** Of the endpoints that do not ask the store for each request. */
const POINTER_AGE_MS = 200;
/** Of one that has a neighbour who is never behind: a pull is begun with one, and ended with both. */
const BEHIND_MS = 2000;
const CRANE_POLL_MS = 50;
/** Between the flips of what skopeo pulls. */
const STEADY_MS = 150;
/** On a busy machine a timer may be late. */
const SLACK_MS = 500;

describe('pulls from an object store while everything moves', function () {
  this.timeout(60_000 + FLIPS * 1000);
  const ends: (() => Promise<unknown>)[] = [];
  let store: S3Double;
  let tree: MovingTree;
  let ways: Way[];
  let cdn: string;
  const skopeo = { isRunning: true, pulls: 0, failures: [] as string[] };

  before(async function () {
    needTools(this, 'nginx', 'skopeo');
    store = await S3Double.start();
    ends.push(() => store.stop());
    const { endpoint, bucket } = store;
    const target = `{type: s3, endpoint: "${endpoint}", bucket: ${bucket}, prefix: ${PREFIX}, pathStyle: true, credentialsFile: ${credentialsFile()}}`;
    const targets = `targets:\n  eu: ${target}\n`;
    const host = endpoint.replace('http://', '');
    const nginx = await nginxBeforeStore(host, `${bucket}/${PREFIX}`);
    ends.push(nginx.stop);
    cdn = nginx.url;
    const serve = async (settings: string, ageMs = 0) => {
      const yaml = `registry: {listen: "127.0.0.1:0", pointerAge: ${ageMs}ms${settings}}\n${targets}`;
      const process = await DaemonProcess.start(tempDir(), {
        command: 'serve',
        yaml,
        flags: ['--target', 'eu'],
      });
      ends.push(() => process.stop());
      return process;
    };
    const streaming = await serve(', blobs: stream');
    const tried = await Promise.all([
      serve(''),
      serve(`, blobsUrl: "${cdn}/blobs/{digest}"`, POINTER_AGE_MS),
      serve(`, blobsUrl: "${cdn}{signed}"`),
      serve(''),
      serve(', blobs: stream', BEHIND_MS),
    ]);
    const [signed, open, signedCdn, one, other] = tried;
    const inTurns = await nginxInTurns([one.registry, other.registry]);
    ends.push(inTurns.stop);
    const root = tempDir();
    const yaml = `${targets}retention: {keep: 1, grace: 10m}
redirect: {url: "${streaming.url}/pulp/docker/snapshots/{id}/{snapshot}/"}
repositories: {'**': {targets: [eu]}}\n`;
    tree = await MovingTree.make(root, {
      repositories: ['app', 'base', 'tool', 'web'],
      random: makeRandom(SEED),
      yaml,
      hands: (services) => storeHands(services, 'eu'),
    });
    const app = await syncedApp(store);
    ends.push(app.stop);
    const craneServer = await crane(app.directory, CRANE_POLL_MS);
    ends.push(craneServer.stop);
    ways = [
      { name: 'streamed', url: streaming.url },
      { name: 'signed URLs', url: signed.url },
      { name: 'a CDN of public objects', url: open.url, behindMs: POINTER_AGE_MS + SLACK_MS },
      { name: 'a CDN of signed URLs', url: signedCdn.url },
      {
        name: 'two endpoints in turns',
        url: inTurns.url,
        behindMs: BEHIND_MS + SLACK_MS,
      },
      { name: 'Crane', url: craneServer.url, behindMs: 2 * CRANE_POLL_MS + SLACK_MS },
    ];
  });

  after(async () => {
    for (const end of ends.reverse()) await end();
    await tree?.close();
    removeTempDirs();
  });

  /** Pulls what only ever moves, from each way in turn, as long as the others pull. */
  async function pullWithSkopeo(): Promise<void> {
    for (let round = 0; skopeo.isRunning; round++) {
      const { url = '', name = '' } = ways[round % ways.length] ?? {};
      const from = `docker://${url.replace('http://', '')}/steady:1`;
      const to = `dir:${join(tempDir(), 'copy')}`;
      try {
        await tool('skopeo', 'copy', '--src-tls-verify=false', '--all', from, to);
        skopeo.pulls++;
      } catch (error) {
        skopeo.failures.push(`${name}: ${(error as Error).message}`);
      }
    }
  }

  it(`all end well, through ${FLIPS} flips, on all ways`, async () => {
    console.info(`      seed ${SEED}`);
    const steady = async (n: number) => {
      const content = new TestContent();
      const image = content.image({ layers: ['shared', `steady ${n}`] });
      await tree.hands.publish('steady', '1', content, image);
    };
    await steady(0);
    const pulling = pullWithSkopeo();
    const moving = (async () => {
      for (let n = 1; skopeo.isRunning; n++) {
        await steady(n);
        await sleep(STEADY_MS);
      }
    })();
    const tallies = await pullUnderFlips(tree, ways, { flips: FLIPS, clients: 1 });
    skopeo.isRunning = false;
    await Promise.all([pulling, moving]);
    for (const tally of tallies) console.info(`      ${describeTally(tally)}`);
    console.info(`      skopeo: ${skopeo.pulls} pulls, ${skopeo.failures.length} failed`);
    for (const { way, pulls, notModified, failures } of tallies) {
      expect(failures, way).to.deep.equal([]);
      expect(pulls, way).to.be.greaterThan(FLIPS / 8);
      if (way !== 'Crane') expect(notModified, way).to.be.greaterThan(0);
    }
    expect(skopeo.failures).to.deep.equal([]);
    expect(skopeo.pulls).to.be.greaterThan(FLIPS / 20);
  });

  it('the CDN keeps what everybody may read, and gives nothing without a signature besides', async () => {
    const digest = sha256(Buffer.from('shared'));
    const key = [...store.objects.keys()].find((each) => each.includes('/blobs/')) ?? '';
    const open = `${cdn}/blobs/${key.split('/').at(-1)}`;
    const first = await fetch(open);
    const whole = Buffer.from(await first.arrayBuffer());
    expect([first.status, `sha256:${key.split(':').at(-1)}`]).to.deep.equal([200, sha256(whole)]);
    store.requests.length = 0;
    const part = await fetch(open, { headers: { Range: 'bytes=0-3' } });
    expect([part.status, (await part.arrayBuffer()).byteLength]).to.deep.equal([206, 4]);
    expect(store.requests, 'from the cache').to.have.length(0);
    const paths = [
      `/${store.bucket}/${key}`,
      `/blobs/${digest}x`,
      '/',
      `/${store.bucket}/?list-type=2`,
    ];
    for (const path of [...paths, `/${store.bucket}/${PREFIX}/repos/app/current`]) {
      expect((await fetch(cdn + path)).status, path).to.be.oneOf([403, 404]);
    }
    expect((await fetch(open, { method: 'DELETE' })).status).to.equal(403);
    expect(store.requests, 'nothing of it reached the store').to.have.length(0);
  });
});

/** A directory like the store's `app/`, as `rclone sync` would keep it: each file by a rename. */
async function syncedApp(store: S3Double) {
  const directory = join(tempDir(), 'app');
  mkdirSync(directory);
  const copied = new Map<string, string>();
  const copy = () => {
    for (const [key, { body, etag }] of store.objects) {
      const [, name] = new RegExp(`^${PREFIX}/app/(.+)$`).exec(key) ?? [];
      if (name === undefined || copied.get(name) === etag) continue;
      writeFileSync(join(directory, `.${name}`), body);
      renameSync(join(directory, `.${name}`), join(directory, name));
      copied.set(name, etag);
    }
  };
  copy();
  const timer = setInterval(copy, CRANE_POLL_MS);
  return { directory, stop: async () => clearInterval(timer) };
}
