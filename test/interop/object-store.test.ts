/**
 * I9 and I1 over an object store: while tags move, change their type and are removed, and repositories
 * are removed and restored, no pull fails or mixes snapshots, whichever server sends the blobs: the
 * endpoint, the store through signed URLs, or nginx as a CDN. DROPDOCK_TEST_FLIPS sets the length,
 * DROPDOCK_TEST_SEED repeats a run.
 */
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import type { ObjectStore, StoreOptions } from '#src/targets/object-store/object-store.js';
import { openClient } from '#src/targets/object-store/s3-client.js';
import { openStore } from '#src/targets/object-store/s3-store.js';
import { crane } from '../support/crane-server.js';
import { DaemonProcess } from '../support/daemon-process.js';
import { sha256, TestContent } from '../support/make-image.js';
import { storeHands } from '../support/moving-hands.js';
import { MovingTree } from '../support/moving-tree.js';
import { doubleOptions } from '../support/object-stores.js';
import { describeTally, pullUnderFlips, type Way } from '../support/pull-under-flips.js';
import { GATEWAY_TOOLS, Gateway } from '../support/radosgw.js';
import { makeRandom } from '../support/random.js';
import { type DoubleRequest, S3Double } from '../support/s3-double.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { needTools, tool } from '../support/tools.js';
import { nginxBeforeStore, nginxInTurns } from '../support/web-servers.js';

const SEED = Number(process.env.DROPDOCK_TEST_SEED ?? Date.now() % 2 ** 31);
const FLIPS = Number(process.env.DROPDOCK_TEST_FLIPS ?? 24);
const PREFIX = 'some/where';
/** Of the endpoints that do not ask the store for each request. */
const POINTER_AGE_MS = 200;
/** Of one that has a neighbour who is never behind: a pull is begun with one, and ended with both. */
const BEHIND_MS = 2000;
const CRANE_POLL_MS = 50;
/** A list and some requests to copy, a look and a load, each as slow as this machine. */
const CRANE_BEHIND_MS = 3000;
/** Between the flips of what skopeo pulls. */
const STEADY_MS = 150;
/** On a busy machine a timer may be late. */
const SLACK_MS = 500;

const GATEWAY = 'the RADOS Gateway';

for (const kind of ['a double', GATEWAY])
  describe(`pulls from an object store (${kind}) while the tree changes constantly`, function () {
    const flips = kind === GATEWAY ? Math.ceil(FLIPS / 4) : FLIPS;
    this.timeout(120_000 + flips * 1000);
    const ends: (() => Promise<unknown>)[] = [];
    let double: S3Double | undefined;
    let tree: MovingTree;
    let ways: Way[];
    let cdn: string;
    const skopeo = { isRunning: true, pulls: 0, failures: [] as string[] };

    before(async function () {
      needTools(this, 'nginx', 'skopeo', ...(kind === GATEWAY ? GATEWAY_TOOLS : []));
      const options = await (kind === GATEWAY ? startGateway() : startDouble());
      const { endpoint = '', bucket, credentialsFile: keys } = options;
      const target = `{type: s3, endpoint: "${endpoint}", bucket: ${bucket}, prefix: ${PREFIX}, pathStyle: true, credentialsFile: ${keys}}`;
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
      const started = await Promise.all([
        serve(', blobs: stream'),
        serve(''),
        serve(`, blobsUrl: "${cdn}/blobs/{digest}"`, POINTER_AGE_MS),
        serve(`, blobsUrl: "${cdn}{signed}"`),
        serve(', blobs: stream', BEHIND_MS),
      ]);
      const [streaming, signed, open, signedCdn, behind] = started;
      const inTurns = await nginxInTurns([streaming.registry, behind.registry]);
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
      const app = await syncedApp(await openStore(options));
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
        { name: 'Crane', url: craneServer.url, behindMs: CRANE_BEHIND_MS },
      ];
    });

    after(async () => {
      await tree?.close();
      for (const end of ends.reverse()) await end();
      removeTempDirs();
    });

    async function startDouble(): Promise<StoreOptions> {
      const started = await S3Double.start();
      double = started;
      ends.push(() => started.stop());
      return doubleOptions(started);
    }

    /** With a bucket whose blobs everybody may read. */
    async function startGateway(): Promise<StoreOptions> {
      const gateway = await Gateway.start(tempDir());
      ends.push(() => gateway.stop());
      await gateway.makeBucket('images');
      const options = gateway.options('images');
      const { s3 } = await openClient(options);
      const Resource = `arn:aws:s3:::images/${PREFIX}/blobs/*`;
      const allow = { Effect: 'Allow', Principal: '*', Action: 's3:GetObject', Resource };
      const Policy = JSON.stringify({ Version: '2012-10-17', Statement: [allow] });
      await s3.putBucketPolicy({ Bucket: 'images', Policy });
      s3.destroy();
      return options;
    }

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

    it(`all succeed through ${flips} flips, on all ways of serving`, async () => {
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
      const tallies = await pullUnderFlips(tree, ways, { flips, clients: 1 });
      skopeo.isRunning = false;
      await Promise.all([pulling, moving]);
      for (const tally of tallies) console.info(`      ${describeTally(tally)}`);
      console.info(`      skopeo: ${skopeo.pulls} pulls, ${skopeo.failures.length} failed`);
      for (const { way, pulls, notModified, failures } of tallies) {
        expect(failures, way).to.deep.equal([]);
        expect(pulls, way).to.be.greaterThan(flips / 8);
        if (way !== 'Crane') expect(notModified, way).to.be.greaterThan(0);
      }
      expect(skopeo.failures).to.deep.equal([]);
      expect(skopeo.pulls).to.be.greaterThan(flips / 20);
    });

    // The double believes every signature.
    const withGateway = kind === GATEWAY ? it : () => {};
    withGateway('a signed URL opens what it was signed for, and nothing else', async () => {
      const { url = '' } = ways.find(({ name }) => name === 'a CDN of signed URLs') ?? {};
      const { state } = await tree.hands.current('steady');
      const [{ blobs } = { blobs: [] }] = state.manifests.values();
      const [one, other] = blobs.map(({ digest }) => digest);
      const redirect = await fetch(`${url}/v2/steady/blobs/${one}`, { redirect: 'manual' });
      const signed = redirect.headers.get('location') ?? '';
      expect([redirect.status, signed.startsWith(`${cdn}/images/`)]).to.deep.equal([307, true]);
      const got = await fetch(signed);
      expect([got.status, sha256(Buffer.from(await got.arrayBuffer()))]).to.deep.equal([200, one]);
      const others = [
        signed.replace(String(one).slice(7), String(other).slice(7)),
        signed.replace(/Signature=../, 'Signature=00'),
        signed.replace(/Expires=\d+/, 'Expires=86400'),
      ];
      for (const each of others) {
        expect(each).to.not.equal(signed);
        expect((await fetch(each)).status).to.equal(403);
      }
    });

    const withDouble = kind === GATEWAY ? () => {} : it;
    withDouble(
      'the CDN keeps what everybody may read, and gives nothing else unsigned',
      async () => {
        const store = double as S3Double;
        // Crane's copy goes on being made.
        const isCopying = ({ key, query }: DoubleRequest) =>
          `${key} ${query.get('prefix')}`.includes(`${PREFIX}/app/`);
        const asked = () => store.requests.filter((each) => !isCopying(each)).length;
        const digest = sha256(Buffer.from('shared'));
        const key = [...store.objects.keys()].find((each) => each.includes('/blobs/')) ?? '';
        const open = `${cdn}/blobs/${key.split('/').at(-1)}`;
        const first = await fetch(open);
        const whole = Buffer.from(await first.arrayBuffer());
        expect([first.status, `sha256:${key.split(':').at(-1)}`]).to.deep.equal([
          200,
          sha256(whole),
        ]);
        store.requests.length = 0;
        const part = await fetch(open, { headers: { Range: 'bytes=0-3' } });
        expect([part.status, (await part.arrayBuffer()).byteLength]).to.deep.equal([206, 4]);
        expect(asked(), 'from the cache').to.equal(0);
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
        expect(asked(), 'nothing of it reached the store').to.equal(0);
      },
    );
  });

/** A directory like the store's `app/`, as a sync would keep it: each file by a rename. */
async function syncedApp(store: ObjectStore) {
  const directory = join(tempDir(), 'app');
  mkdirSync(directory);
  const etags = new Map<string, string>();
  let isRunning = true;
  const copy = async () => {
    for await (const { objects } of store.list('app/')) {
      for (const { key } of objects) {
        const found = await store.get(key, etags.get(key));
        if (found === undefined || found === 'same') continue;
        const name = key.slice('app/'.length);
        writeFileSync(join(directory, `.${name}`), found.body);
        renameSync(join(directory, `.${name}`), join(directory, name));
        etags.set(key, found.etag);
      }
    }
  };
  await copy();
  const running = (async () => {
    while (isRunning) {
      await sleep(CRANE_POLL_MS);
      await copy();
    }
  })();
  const stop = async () => {
    isRunning = false;
    await running;
    store.close();
  };
  return { directory, stop };
}
