/** Object store specifics: freshness, missing objects, damage, and streamed bytes. */
import { once } from 'node:events';
import { get as httpGet, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { expect } from 'chai';
import { readByteRanges } from '../../support/byte-ranges.js';
import { layerBytes, sha256, TestContent, type TestDescriptor } from '../../support/make-image.js';
import { MemoryStore } from '../../support/memory-store.js';
import { writeHtpasswd } from '../../support/passwords.js';
import { removeTempDirs, tempDir } from '../../support/temp-dir.js';
import { TestRegistry } from '../../support/test-registry.js';
import { waitFor } from '../../support/wait-for.js';

const LAYER = sha256(layerBytes('one'));
const TAG = '/v2/team/app/manifests/1';
const BLOB = `/v2/team/app/blobs/${LAYER}`;

describe('an endpoint over an object store', () => {
  let registry: TestRegistry;
  let store: MemoryStore;
  let content: TestContent;
  let image: TestDescriptor;
  let root: string;
  const others: TestRegistry[] = [];

  beforeEach(async () => {
    root = tempDir();
    store = new MemoryStore();
    registry = await open({});
    content = new TestContent();
    image = content.image({ layers: ['one'] });
    await registry.drop('team/app', content, [{ image, tag: '1' }]);
    store.asked.length = 0;
  });
  afterEach(async () => {
    for (const each of [registry, ...others.splice(0)]) await each.close();
    removeTempDirs();
  });

  /** One that believes a pointer for an hour, if not told otherwise. */
  async function open({ ageMs = 3_600_000, staleMs = 3_600_000, yaml = '' }) {
    const objectOptions = { pointerAgeMs: ageMs, staleMs };
    return TestRegistry.open(root, { objects: store, objectOptions, yaml });
  }
  async function another(options: Parameters<typeof open>[0] = {}): Promise<TestRegistry> {
    const opened = await open(options);
    others.push(opened);
    return opened;
  }
  const said = async (path: string, by = registry) => {
    const { status, code } = await by.get(path);
    return code === undefined ? String(status) : `${status} ${code}`;
  };

  it('requests pointer, snapshot and manifest once, then nothing within the cache age', async () => {
    expect(await said(TAG)).to.equal('200');
    expect(store.asked.map((each) => each.replace(/\d{8}T\d+\.\d+Z/, 'WHEN'))).to.deep.equal([
      'get repos/team~app/current',
      'get repos/team~app/WHEN.json',
      `get manifests/${image.digest}`,
    ]);
    store.asked.length = 0;
    await registry.get(TAG);
    await registry.get(`/v2/team/app/manifests/${image.digest}`);
    await registry.head(BLOB);
    await registry.get('/v2/team/app/tags/list');
    await registry.get(`/v2/team/app/referrers/${image.digest}`);
    expect(store.asked).to.deep.equal([]);
  });

  it('reuses the cache of another endpoint', async () => {
    const behind = await another();
    expect(await said(TAG, behind)).to.equal('200');
    const next = content.image({ layers: ['one', 'two'] });
    await registry.drop('team/app', content, [
      { image: next, tag: '1' },
      { image: next, tag: '2' },
    ]);
    const ahead = await another();
    const { headers } = await ahead.get(TAG);
    expect(headers['docker-content-digest']).to.equal(next.digest);
    // The load balancer sends the rest of the pull to the one that is behind.
    expect(await said(`/v2/team/app/blobs/${sha256(layerBytes('two'))}`, behind)).to.equal('200');
    const late = await another();
    await late.get(TAG);
    await registry.drop('team/app', content, [{ image, tag: '3' }]);
    expect(await said('/v2/team/app/manifests/3', late)).to.equal('200');
    await registry.drop('new', content, [{ image, tag: '1' }]);
    expect(await said('/v2/new/manifests/1', late)).to.equal('200');
  });

  it('reports an object as unknown only after the store confirmed it', async () => {
    await registry.get(TAG);
    store.asked.length = 0;
    expect(await said('/v2/team/app/manifests/2')).to.equal('404 MANIFEST_UNKNOWN');
    expect(await said(`/v2/team/app/blobs/${sha256('x')}`)).to.equal('404 BLOB_UNKNOWN');
    expect(await said('/v2/nobody/manifests/1')).to.equal('404 NAME_UNKNOWN');
    expect(store.count(/^get repos\/team~app\/current/)).to.equal(2);
  });

  it('never serves the content of another repository', async () => {
    const secret = content.image({ layers: ['secret'] });
    await registry.drop('other', content, [{ image: secret, tag: '1' }]);
    expect(store.objects.has(`manifests/${secret.digest}`)).to.equal(true);
    expect(await said(`/v2/team/app/manifests/${secret.digest}`)).to.match(/^404/);
    expect(await said(`/v2/team/app/blobs/${sha256(layerBytes('secret'))}`)).to.match(/^404/);
    // Nor when the settings give its id to another repository.
    const renamed = await another({ yaml: 'repositories: {mine: {id: other}}' });
    expect(await said('/v2/mine/manifests/1', renamed)).to.equal('404 NAME_UNKNOWN');
  });

  it('serves cached content while the store is down, and 503 for the rest', async () => {
    await registry.get(TAG);
    const later = await another({ ageMs: 0 });
    await later.get(TAG);
    store.isAway = true;
    for (const by of [registry, later]) {
      expect(await said(TAG, by)).to.equal('200');
      expect((await by.head(BLOB)).status).to.equal(200);
      expect(await said('/v2/team/app/tags/list', by)).to.equal('200');
      for (const path of [
        '/v2/team/app/manifests/2',
        `/v2/team/app/blobs/${sha256('x')}`,
        '/v2/nobody/tags/list',
        '/v2/_catalog',
        BLOB,
      ]) {
        const { status, headers, code } = await by.get(path);
        expect([status, code, headers['retry-after']], path).to.deep.equal([503, 'UNKNOWN', '1']);
      }
    }
    const strict = await another({ ageMs: 0, staleMs: 0 });
    expect(await said(TAG, strict)).to.equal('503 UNKNOWN');
    store.isAway = false;
    expect(await said(TAG, strict)).to.equal('200');
    expect(await said('/v2/team/app/manifests/2', strict)).to.equal('404 MANIFEST_UNKNOWN');
  });

  it('serves the next snapshot when one was cleaned', async () => {
    await registry.get('/v2/other/tags/list');
    const behind = await another();
    const [old] = [...store.objects.keys()].filter((key) => /repos\/team~app\/2/.test(key));
    // It knows the pointer, and has read nothing else.
    await behind.get('/v2/_catalog');
    const next = content.image({ layers: ['one', 'two'] });
    await registry.drop('team/app', content, [{ image: next, tag: '1' }]);
    store.objects.delete(old ?? '');
    const { status, headers } = await behind.get(TAG);
    expect([status, headers['docker-content-digest']]).to.deep.equal([200, next.digest]);
  });

  it('reports listed but missing objects as damage, not as unknown', async () => {
    const lacking = async (pattern: RegExp, path: string) => {
      const [key = ''] = [...store.objects.keys()].filter((each) => pattern.test(each));
      const body = store.objects.get(key) ?? Buffer.alloc(0);
      store.objects.delete(key);
      expect(await said(path, await another()), key).to.equal('500 UNKNOWN');
      store.put(key, Buffer.concat([body.subarray(0, -1), Buffer.from('~')]));
      const altered = await said(path, await another());
      store.put(key, body);
      expect(await said(path, await another()), key).to.equal('200');
      return altered;
    };
    expect(await lacking(/^repos\/team~app\/2/, TAG)).to.equal('500 UNKNOWN');
    expect(await lacking(new RegExp(image.digest), TAG)).to.equal('500 UNKNOWN');
    await lacking(new RegExp(`^blobs/${LAYER}`), BLOB);
  });

  it('does not accept another snapshot under the expected name', async () => {
    await registry.drop('other', content, [{ image, tag: '1' }]);
    const keyOf = (id: string) =>
      [...store.objects.keys()].find((key) => key.startsWith(`repos/${id}/2`)) ?? '';
    store.put(keyOf('team~app'), store.objects.get(keyOf('other')) ?? '');
    expect(await said(TAG, await another())).to.equal('500 UNKNOWN');
  });

  it('sends as many requests for a forbidden as for a missing repository', async () => {
    const passwords = join(tempDir(), 'htpasswd');
    writeHtpasswd(passwords, { alice: 'secret' });
    const yaml = `registry: {htpasswd: ${passwords}}\nrepositories: {team/app: {protected: true}}`;
    const guarded = await another({ yaml });
    const asked = async (path: string) => {
      store.asked.length = 0;
      const reply = await said(path, guarded);
      return [reply, store.asked.length];
    };
    expect(await asked(TAG)).to.deep.equal(['401 UNAUTHORIZED', 1]);
    expect(await asked('/v2/team/none/manifests/1')).to.deep.equal(['401 UNAUTHORIZED', 1]);
  });

  it('reuses a signed URL for half of its lifetime', async () => {
    const yaml = 'registry: {target: eu}\ntargets: {eu: {type: s3, bucket: images}}';
    const leading = await another({ yaml });
    const { status, headers } = await leading.get(BLOB);
    expect([status, headers['cache-control']]).to.deep.equal([307, 'no-store']);
    expect(headers.location).to.equal(
      `https://s3.example.com/bucket/blobs/${LAYER}?X-Amz-Expires=600&X-Amz-Signature=abc`,
    );
    expect((await leading.get(BLOB)).headers.location).to.equal(headers.location);
    expect(store.count(/^presign/)).to.equal(1);
    expect((await leading.head(BLOB)).status, 'whether it is there we say ourselves').to.equal(200);
  });

  it('redirects to the CDN of the target, or to the host for signed URLs', async () => {
    const target = 'targets: {eu: {type: s3, bucket: b, publicUrl: "https://cdn.example.com/x/"}}';
    const open = await another({ yaml: `registry: {target: eu}\n${target}` });
    const cdn = `https://cdn.example.com/x/blobs/${LAYER}`;
    expect((await open.get(BLOB)).headers.location).to.equal(cdn);
    const url = 'blobsUrl: "https://own.example.com{signed}"';
    const signed = await another({ yaml: `registry: {target: eu, ${url}}\n${target}` });
    expect((await signed.get(BLOB)).headers.location).to.equal(
      `https://own.example.com/bucket/blobs/${LAYER}?X-Amz-Expires=600&X-Amz-Signature=abc`,
    );
    const stream = await another({ yaml: `registry: {target: eu, blobs: stream}\n${target}` });
    expect((await stream.get(BLOB)).status).to.equal(200);
  });
});

describe('bytes of an object store', () => {
  // 32 MiB; no two places of 256 KiB are alike.
  const TEXT = Array.from({ length: 32 * 1024 }, (_none, n) => String(n).padStart(8, '0'))
    .join('')
    .repeat(128);
  const BIG = layerBytes(TEXT).length;
  let registry: TestRegistry;
  let store: MemoryStore;
  let path: string;

  before(async () => {
    store = new MemoryStore();
    registry = await TestRegistry.open(tempDir(), { objects: store });
    const content = new TestContent();
    await registry.drop('big', content, [{ image: content.image({ layers: [TEXT] }) }]);
    path = `/v2/big/blobs/${sha256(layerBytes(TEXT))}`;
  });
  after(async () => {
    await registry.close();
    removeTempDirs();
  });
  beforeEach(() => {
    store.opened.length = 0;
    store.readBytes = 0;
    registry.errors.length = 0;
  });

  async function begin(): Promise<IncomingMessage> {
    const [response] = await once(httpGet(registry.server.url + path), 'response');
    return response as IncomingMessage;
  }

  it('are streamed on demand: a slow client fills no memory', async () => {
    const response = await begin();
    response.pause();
    await waitFor('the sockets to be full', async () => {
      const before = store.readBytes;
      await new Promise((resolve) => setTimeout(resolve, 100));
      return before > 0 && store.readBytes === before;
    });
    expect(store.readBytes).to.be.lessThan(BIG / 2);
    response.destroy();
    await waitFor('the stream to be let go', () =>
      store.opened.every(({ destroyed }) => destroyed),
    );
    expect(registry.errors).to.deep.equal([]);
  });

  it('are requested as a range for a range request', async () => {
    const { status, headers, body } = await registry.get(path, { range: `bytes=${BIG - 5}-` });
    expect([status, body.length]).to.deep.equal([206, 5]);
    expect(headers['content-range']).to.equal(`bytes ${BIG - 5}-${BIG - 1}/${BIG}`);
    expect(store.readBytes).to.equal(5);
  });

  it('are requested as parts for several ranges: nearby ones with one request', async () => {
    const parts = [
      [10, 19],
      [20, 20],
      [60_000, 200_000],
      [300_000, 300_009],
      [5_000_000, 9_000_000],
      [0, 3],
    ];
    const range = `bytes=${parts.map(([start, end]) => `${start}-${end}`).join(', ')}`;
    const received = readByteRanges(await registry.get(path, { range }));
    expect(received.map((each) => each.range)).to.deep.equal(
      parts.map(([start, end]) => `${start}-${end}/${BIG}`),
    );
    const layer = layerBytes(TEXT);
    for (const [at, [start = 0, end = 0]] of parts.entries()) {
      expect(received[at]?.bytes.equals(layer.subarray(start, end + 1)), `${start}`).to.equal(true);
    }
    // 10 to 200,000; 300,000; five millions; 0.
    expect(store.opened).to.have.length(4);
    expect(store.readBytes).to.equal(199_991 + 10 + 4_000_001 + 4);
    expect(store.opened.every(({ destroyed }) => destroyed)).to.equal(true);
  });

  it('are released, also for several parts, when the client disconnects', async () => {
    const headers = { range: `bytes=0-9,1000-${BIG - 1}` };
    const [response] = await once(httpGet(registry.server.url + path, { headers }), 'response');
    (response as IncomingMessage).pause();
    await waitFor('the sockets to be full', async () => {
      const before = store.readBytes;
      await new Promise((resolve) => setTimeout(resolve, 100));
      return before > 0 && store.readBytes === before;
    });
    expect(store.readBytes).to.be.lessThan(BIG / 2);
    (response as IncomingMessage).destroy();
    await waitFor('the stream to be let go', () =>
      store.opened.every(({ destroyed }) => destroyed),
    );
    expect(registry.errors).to.deep.equal([]);
  });

  it('are aborted, not ended, when the store ends too early', async () => {
    store.cutBytes = 10;
    let failure: Error | undefined;
    await registry.get(path).catch((error) => {
      failure = error;
    });
    store.cutBytes = 0;
    expect(failure).to.be.instanceOf(Error);
    await waitFor('the log', () => registry.errors.length === 1);
    expect(registry.errors[0]?.message).to.contain(`ended after ${BIG - 10} of ${BIG} bytes`);
    expect((await registry.get(path)).body.length).to.equal(BIG);
    store.cutBytes = 10;
    const several = { range: 'bytes=0-99,200-299' };
    const again = await registry.get(path, several).catch((error: Error) => error);
    store.cutBytes = 0;
    expect(again).to.be.instanceOf(Error);
    await waitFor('the log', () => registry.errors.length === 2);
    expect(registry.errors[1]?.message).to.contain('ended at byte 290 of 300');
  });
});
