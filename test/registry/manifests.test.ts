/** Manifests over HTTP: correct types and digests, by tag and by digest, in the form the client accepts. */
import { createHash } from 'node:crypto';
import { chmodSync, mkdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { expect } from 'chai';
import type { Digest } from '#src/image/digest.js';
import type { Reply } from '../support/ask.js';
import { dropPath } from '../support/deliver.js';
import { harmRecord } from '../support/harm-record.js';
import { layerBytes, sha256, TestContent, type TestDescriptor } from '../support/make-image.js';
import {
  base64url,
  makeSchema1,
  payloadAsClientsCut,
  signatureBlock,
  withSignatures,
} from '../support/schema1.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { describeOver, steadyHeaders, TestRegistry } from '../support/test-registry.js';

const TYPES = {
  oci: 'application/vnd.oci.image.manifest.v1+json',
  index: 'application/vnd.oci.image.index.v1+json',
  docker: 'application/vnd.docker.distribution.manifest.v2+json',
  list: 'application/vnd.docker.distribution.manifest.list.v2+json',
  schema1: 'application/vnd.docker.distribution.manifest.v1+json',
  signed: 'application/vnd.docker.distribution.manifest.v1+prettyjws',
};
const AMD64 = { os: 'linux', architecture: 'amd64' };
const ARM64 = { os: 'linux', architecture: 'arm64', variant: 'v8' };

/** What the headers say must be true of the body. */
function expectTrue({ status, headers, body }: Reply, type: string): void {
  expect(status).to.equal(200);
  expect(headers['content-type']).to.equal(type);
  expect(headers['content-length']).to.equal(String(body.length));
  expect(headers['docker-content-digest']).to.equal(sha256(body));
  expect(headers.etag).to.equal(`"${sha256(body)}"`);
}

describeOver('manifests', () => {
  let registry: TestRegistry;
  let image: TestDescriptor;
  let amd64: TestDescriptor;
  let index: TestDescriptor;
  let dockerList: TestDescriptor;

  before(async () => {
    registry = await TestRegistry.open(tempDir());
    const content = new TestContent();
    image = content.image();
    amd64 = content.image({ platform: AMD64, layers: ['amd64'] });
    const both = [content.image({ platform: ARM64, layers: ['arm64'] }), amd64];
    index = content.index(both);
    const dockers = [ARM64, AMD64].map((platform) => content.image({ platform, docker: true }));
    dockerList = content.index(dockers, true);
    const armOnly = content.index([content.image({ platform: ARM64, layers: ['only'] })]);
    // As a Go program writes an index of nothing.
    const text = JSON.stringify({ schemaVersion: 2, mediaType: TYPES.index, manifests: null });
    const nothing = content.add(text, TYPES.index);
    await registry.drop('app', content, [
      { image: nothing, tag: 'nothing' },
      { image, tag: 'oci' },
      { image: index, tag: 'index' },
      { image: dockerList, tag: 'list' },
      { image: armOnly, tag: 'arm' },
    ]);
  });
  after(async () => {
    await registry.close();
    removeTempDirs();
  });

  const get = (reference: string, ...accept: string[]) =>
    registry.get(`/v2/app/manifests/${reference}`, accept.length > 0 ? { accept } : {});

  it('are sent as stored, whatever the client accepts, when requested by digest', async () => {
    for (const accept of [[], [TYPES.oci], [TYPES.docker], ['*/*'], ['text/html']]) {
      const reply = await get(image.digest, ...accept);
      expectTrue(reply, TYPES.oci);
      expect(sha256(reply.body)).to.equal(image.digest);
      expect(reply.headers).to.include({ 'cache-control': 'public, max-age=31536000, immutable' });
      expect(reply.headers).to.not.have.property('vary');
    }
  });

  it('are sent by tag as OCI, as Docker, and as stored without an Accept header', async () => {
    expectTrue(await get('oci', TYPES.oci), TYPES.oci);
    expectTrue(await get('oci', TYPES.docker), TYPES.docker);
    expectTrue(await get('oci'), TYPES.oci);
    expectTrue(await get('oci', '*/*'), TYPES.oci);
    expectTrue(await get('oci', `${TYPES.oci};q=0`, TYPES.docker), TYPES.docker);
    expect((await get('oci', TYPES.docker)).headers).to.include({
      vary: 'Accept',
      'cache-control': 'no-cache',
    });
    // Several lines of Accept are one (RFC 9110, 5.3): what classic Docker sends.
    expectTrue(await get('oci', TYPES.signed, TYPES.docker, TYPES.list), TYPES.docker);
  });

  it('are sent as an empty index to clients that accept indexes, and otherwise as stored', async () => {
    for (const accept of [TYPES.index, TYPES.oci]) {
      expectTrue(await get('nothing', accept), TYPES.index);
    }
  });

  it('are sent by tag as a list, or as its amd64 image to clients without list support', async () => {
    const all = Object.values(TYPES);
    expect((await get('index', ...all)).headers['docker-content-digest']).to.equal(index.digest);
    expectTrue(await get('index', TYPES.list, TYPES.docker), TYPES.list);
    expect((await get('index', TYPES.oci)).headers['docker-content-digest']).to.equal(amd64.digest);
    const docker = await get('index', TYPES.docker);
    expectTrue(docker, TYPES.docker);
    const { layers } = docker.json as { layers: { digest: string }[] };
    expect(layers[0]?.digest).to.equal(sha256(layerBytes('amd64')));
    expectTrue(await get('list', TYPES.list), TYPES.list);
    expectTrue(await get('list', TYPES.docker), TYPES.docker);
    expectTrue(await get('list', TYPES.oci), TYPES.list);
    expectTrue(await get('arm', TYPES.oci), TYPES.index);
  });

  it('that a tag resolves to are available by that digest, in each form', async () => {
    for (const tag of ['oci', 'index', 'list', 'arm']) {
      for (const type of Object.values(TYPES)) {
        const byTag = await get(tag, type);
        const byDigest = await get(String(byTag.headers['docker-content-digest']));
        expect(byDigest.body.equals(byTag.body), `${tag} ${type}`).to.equal(true);
        expect(byDigest.headers['content-type']).to.equal(byTag.headers['content-type']);
      }
    }
  });

  it('have the same headers for HEAD, and no body', async () => {
    for (const reference of ['oci', 'index', image.digest, 'absent', '..']) {
      const path = `/v2/app/manifests/${reference}`;
      const [got, head] = [await registry.get(path), await registry.head(path)];
      expect(head.status).to.equal(got.status);
      expect(steadyHeaders(head)).to.deep.equal(steadyHeaders(got));
      expect(head.body).to.have.length(0);
    }
  });

  it('are not sent again to a client that has them in the requested form', async () => {
    const path = '/v2/app/manifests/oci';
    const { etag = '' } = (await registry.get(path)).headers;
    const again = (more: object) => registry.get(path, { 'if-none-match': etag, ...more });
    expect((await again({})).status).to.equal(304);
    expect((await again({ 'if-none-match': `W/${etag}, "x"` })).status).to.equal(304);
    expect((await again({ accept: TYPES.docker })).status).to.equal(200);
    expect((await again({ 'cache-control': 'no-cache' })).status).to.equal(304);
    expect((await again({})).headers).to.include({ etag, vary: 'Accept' });
  });

  it('are unknown by a tag or digest of another kind of object', async () => {
    const { layers } = (await get('oci', TYPES.oci)).json as { layers: { digest: string }[] };
    for (const reference of ['absent', String(layers[0]?.digest), sha256('nothing'), 'list2']) {
      const { status, code } = await get(reference);
      expect({ status, code }).to.deep.equal({ status: 404, code: 'MANIFEST_UNKNOWN' });
    }
  });
});

describeOver('odd manifests', () => {
  let root: string;
  let registry: TestRegistry;
  let content: TestContent;
  beforeEach(() => {
    root = tempDir();
    content = new TestContent();
  });
  afterEach(async () => {
    await registry.close();
    removeTempDirs();
  });

  it('of Docker schema 1 have the type and digest defined by their signature', async () => {
    registry = await TestRegistry.open(root);
    const texts = [true, false].map((signed) => {
      const old = new TestContent();
      const layer = old.add(layerBytes(`old ${signed}`), 'layer');
      const { text, payload } = makeSchema1([layer.digest], { signed });
      const name = signed ? 'app:signed' : 'app:plain';
      old.writeSkopeoDir(dropPath(root, name), old.add(text, 'schema 1'));
      return { text, digest: sha256(payload), name };
    });
    for (const { name } of texts) await registry.take(name);
    const [signed, plain] = texts;
    for (const reference of ['signed', String(signed?.digest)]) {
      const { body, headers } = await registry.get(`/v2/app/manifests/${reference}`);
      expect(body.toString()).to.equal(signed?.text);
      expect(headers).to.include({
        'content-type': TYPES.signed,
        'docker-content-digest': signed?.digest,
        // Of what is sent: other signatures of the same would be another answer.
        etag: `"${sha256(String(signed?.text))}"`,
      });
      expect(sha256(payloadAsClientsCut(body))).to.equal(signed?.digest);
    }
    expectTrue(await registry.get('/v2/app/manifests/plain'), TYPES.schema1);
    expectTrue(await registry.get(`/v2/app/manifests/${plain?.digest}`), TYPES.schema1);
  });

  it('of schema 1 with a signature for other content are not sent, by digest or by tag', async () => {
    registry = await TestRegistry.open(root);
    const old = new TestContent();
    const layer = old.add(layerBytes('old'), 'layer');
    const { text, payload } = makeSchema1([layer.digest], { signed: true });
    old.writeSkopeoDir(dropPath(root, 'app:1'), old.add(text, 'schema 1'));
    await registry.take('app:1');
    // As an older version would have let it in.
    const evil = makeSchema1([sha256('evil')], { signed: false }).payload;
    const block = signatureBlock({ formatLength: 0, formatTail: base64url(payload) });
    const forged = withSignatures(evil, [block]);
    const web = join(root, 'published/web/app');
    for (const path of ['.snapshot.json', 'manifests/1/1', `manifests/1/${sha256(payload)}`]) {
      chmodSync(join(web, path), 0o644);
    }
    harmRecord(join(web, '.snapshot.json'), sha256(payload), (record) => ({
      ...record,
      stored: sha256(forged) as Digest,
      size: forged.length,
    }));
    writeFileSync(join(web, 'manifests/1/1'), forged);
    writeFileSync(join(web, `manifests/1/${sha256(payload)}`), forged);
    registry.objects?.put(`manifests/${sha256(forged)}`, forged);
    const snapshot = `repos/app/${basename(readlinkSync(web))}.json`;
    registry.objects?.put(snapshot, readFileSync(join(web, '.snapshot.json')));
    for (const reference of ['1', sha256(payload)]) {
      const reply = await registry.get(`/v2/app/manifests/${reference}`);
      expect(reply.status).to.equal(500);
      expect(reply.body.includes('fsLayers')).to.equal(false);
    }
    expect(registry.errors.map(({ message }) => message).join()).to.contain(
      'does not match its name',
    );
  });

  it('that are passed through to Crane have one form, and keep their type', async () => {
    registry = await TestRegistry.open(root, { yaml: 'redirect: {oci: passthrough}' });
    const plain = content.image({ layers: ['through'] });
    const body = JSON.parse(String(content.blobs.get(plain.digest)));
    // A member that means something in schema 1 alone.
    const text = JSON.stringify({ ...body, signatures: [{ protected: 'x' }] });
    const image = content.add(text, plain.mediaType);
    await registry.drop('app', content, [{ image, tag: '1' }]);
    for (const accept of [TYPES.oci, TYPES.docker, TYPES.schema1, '*/*']) {
      const { headers } = await registry.get('/v2/app/manifests/1', { accept });
      expect(headers).to.include({
        'content-type': TYPES.oci,
        'docker-content-digest': image.digest,
      });
    }
  });

  it('that are named by sha512 are sent with that digest, by tag as well', async () => {
    registry = await TestRegistry.open(root);
    const image = content.image({ layers: ['long'] });
    const bytes = content.blobs.get(image.digest) ?? Buffer.alloc(0);
    const digest = `sha512:${createHash('sha512').update(bytes).digest('hex')}`;
    content.blobs.set(digest, bytes);
    mkdirSync(`${root}/inbox/app/blobs/sha512`, { recursive: true });
    await registry.drop('app', content, [{ image: { ...image, digest }, tag: '1' }]);
    const isNamed = async (reference: string, as: string) => {
      const { headers } = await registry.get(`/v2/app/manifests/${reference}`);
      expect(headers['docker-content-digest'], reference).to.equal(as);
      expect(headers.etag).to.equal(`"${as}"`);
    };
    for (const reference of ['1', digest]) await isNamed(reference, digest);
    // The same bytes under the other name do not change what the tag stands for.
    content.blobs.delete(digest);
    await registry.drop('app', content, [{ image }]);
    await registry.drop('app', content, [{ image, tag: '2' }]);
    for (const reference of ['1', digest]) await isNamed(reference, digest);
    for (const reference of ['2', image.digest]) await isNamed(reference, image.digest);
  });

  it('that hold the referrers of another are found by its fallback tag, which is not listed', async () => {
    registry = await TestRegistry.open(root);
    const image = content.image({ layers: ['subject'] });
    const signature = content.image({ subject: image, artifactType: 'application/x-signature' });
    await registry.drop('app', content, [{ image, tag: '1' }, { image: signature }]);
    const tag = image.digest.replace(':', '-');
    const fallback = await registry.get(`/v2/app/manifests/${tag}`);
    expectTrue(fallback, TYPES.index);
    const listed = await registry.get(`/v2/app/referrers/${image.digest}`);
    expect(listed.body.equals(fallback.body)).to.equal(true);
    expect((await registry.get('/v2/app/tags/list')).json).to.deep.equal({
      name: 'app',
      tags: ['1'],
    });
  });
});
