/**
 * Blobs over HTTP: complete, in ranges, or through another server; protected blobs are always sent by
 * dropdock.
 */
import { readlinkSync } from 'node:fs';
import { Agent } from 'node:http';
import { join } from 'node:path';
import { expect } from 'chai';
import { basic } from '../support/ask.js';
import { readByteRanges } from '../support/byte-ranges.js';
import { layerBytes, sha256, TestContent, type TestDescriptor } from '../support/make-image.js';
import { writeHtpasswd } from '../support/passwords.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { describeOver, steadyHeaders, TestRegistry } from '../support/test-registry.js';

const LAYER = layerBytes('0123456789');
const DIGEST = sha256(LAYER);

describeOver('blobs', (over) => {
  const overDirectory = over === 'a directory';
  let registry: TestRegistry;
  let image: TestDescriptor;
  const path = `/v2/team/app/blobs/${DIGEST}`;

  /** The same tree, under other settings. */
  async function reopen(yaml: string): Promise<void> {
    const { root } = registry;
    await registry.close();
    registry = await TestRegistry.open(root, { yaml });
  }

  before(async () => {
    registry = await TestRegistry.open(tempDir());
    const content = new TestContent();
    image = content.image({ layers: ['0123456789', ''] });
    const empty = content.add('', 'application/octet-stream');
    const artifact = { schemaVersion: 2, config: empty, layers: [empty] };
    const type = 'application/vnd.oci.image.manifest.v1+json';
    const nothing = content.add(JSON.stringify({ ...artifact, mediaType: type }), type);
    await registry.drop('team/app', content, [{ image, tag: '1' }, { image: nothing }]);
  });
  after(async () => {
    await registry.close();
    removeTempDirs();
  });

  it('are sent complete, with their digest, and are cacheable without limit', async () => {
    const { status, headers, body } = await registry.get(path);
    expect(status).to.equal(200);
    expect(body.equals(LAYER)).to.equal(true);
    expect(headers).to.include({
      'docker-content-digest': DIGEST,
      etag: `"${DIGEST}"`,
      'content-type': 'application/octet-stream',
      'content-length': String(LAYER.length),
      'accept-ranges': 'bytes',
      'cache-control': 'public, max-age=31536000, immutable',
    });
  });

  it('are sent as single ranges that add up to the blob', async () => {
    const parts = ['bytes=0-3', 'bytes=4-7', 'bytes=8-'];
    const replies = await Promise.all(parts.map((range) => registry.get(path, { range })));
    expect(replies.map(({ status }) => status)).to.deep.equal([206, 206, 206]);
    expect(replies.map(({ headers }) => headers['content-range'])).to.deep.equal([
      'bytes 0-3/12',
      'bytes 4-7/12',
      'bytes 8-11/12',
    ]);
    expect(Buffer.concat(replies.map(({ body }) => body)).equals(LAYER)).to.equal(true);
    const outside = await registry.get(path, { range: 'bytes=12-' });
    expect(outside.headers['content-range']).to.equal('bytes */12');
    expect([outside.status, outside.code]).to.deep.equal([416, 'RANGE_INVALID']);
  });

  it('are sent as multiple ranges in one response, and the connection stays usable', async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    try {
      for (let round = 0; round < 3; round++) {
        const reply = await registry.ask(path, {
          headers: { range: 'bytes=0-1,2-3,-4, 9-9' },
          agent,
        });
        expect(reply.headers).to.include({
          'docker-content-digest': DIGEST,
          etag: `"${DIGEST}"`,
          'accept-ranges': 'bytes',
          'cache-control': 'public, max-age=31536000, immutable',
        });
        const parts = readByteRanges(reply);
        expect(parts.map(({ range }) => range)).to.deep.equal([
          '0-1/12',
          '2-3/12',
          '8-11/12',
          '9-9/12',
        ]);
        for (const { range, type, bytes } of parts) {
          const [start, end] = range.split(/[-/]/).map(Number);
          expect(bytes.equals(LAYER.subarray(start, (end ?? 0) + 1)), range).to.equal(true);
          expect(type).to.equal('application/octet-stream');
        }
      }
      expect(registry.sent.slice(-3).map(({ isWhole }) => isWhole)).to.deep.equal(
        Array(3).fill(true),
      );
    } finally {
      agent.destroy();
    }
  });

  it('have the same headers for HEAD as for GET, and no body', async () => {
    const paths = [path, `/v2/team/app/blobs/${sha256('')}`, `/v2/team/app/blobs/${sha256('no')}`];
    for (const each of paths) {
      const [got, head] = [await registry.get(each), await registry.head(each)];
      expect(head.status).to.equal(got.status);
      expect(steadyHeaders(head)).to.deep.equal(steadyHeaders(got));
      expect(head.body).to.have.length(0);
    }
  });

  it('are described in full by HEAD: only GET supports ranges (RFC 9110, 14.2)', async () => {
    const { status, headers } = await registry.head(path, { range: 'bytes=0-3' });
    expect(status).to.equal(200);
    expect(headers).to.include({ 'content-length': '12' }).and.not.have.property('content-range');
  });

  it('may be empty, and the connection stays usable afterwards', async () => {
    const empty = await registry.get(`/v2/team/app/blobs/${sha256('')}`);
    expect(empty.status).to.equal(200);
    expect(empty.headers['content-length']).to.equal('0');
    expect((await registry.get(path)).status).to.equal(200);
  });

  it('are unknown if no manifest of the repository references them', async () => {
    for (const digest of [sha256('nothing'), image.digest, `sha512:${'0'.repeat(128)}`]) {
      const { status, code } = await registry.get(`/v2/team/app/blobs/${digest}`);
      expect([status, code]).to.deep.equal([404, 'BLOB_UNKNOWN']);
    }
  });

  it('are sent by the configured server, through a redirect that is not cached', async () => {
    const url = 'https://cdn.example.com/{id}/{repository}/{snapshot}/{digest}?{other}';
    await reopen(`registry: {blobs: redirect, blobsUrl: "${url}"}`);
    const { status, headers, body } = await registry.get(path, { range: 'bytes=0-1' });
    const snapshot = readlinkSync(registry.web('team~app')).split('/').at(-1);
    expect([status, body.length]).to.deep.equal([307, 0]);
    expect(headers).to.include({
      location: `https://cdn.example.com/team~app/team/app/${snapshot}/${DIGEST}?{other}`,
      'cache-control': 'no-store',
      'content-length': '0',
    });
    // Dropdock itself answers whether a blob exists, and never redirects to a missing one.
    expect((await registry.head(path)).headers['content-length']).to.equal('12');
    expect((await registry.get(`/v2/team/app/blobs/${sha256('no')}`)).status).to.equal(404);
  });

  it('are sent by the nginx in front, which receives a path below its internal location', async () => {
    await reopen('registry: {blobs: x-accel, accelPrefix: /inside/}');
    const { status, headers } = await registry.get(path);
    expect(status).to.equal(200);
    expect(headers['x-accel-redirect']).to.match(/^\/inside\/team~app\/2\d+T\d+\.\d+Z\/blobs\//);
    expect(headers).to.include({ etag: `"${DIGEST}"`, 'docker-content-digest': DIGEST });
    expect((await registry.head(path)).headers).to.not.have.property('x-accel-redirect');
  });

  it('are never redirected to a public place when protected, nor when anonymous access is off', async () => {
    const passwords = join(tempDir(), 'htpasswd');
    writeHtpasswd(passwords, { alice: 'secret' });
    const url = 'blobsUrl: "https://cdn.example.com/{digest}"';
    const redirect = `blobs: redirect, ${url}, htpasswd: ${passwords}`;
    const secret = 'repositories: {team/app: {protected: true}}';
    for (const yaml of [
      `registry: {${redirect}}\n${secret}`,
      `registry: {anonymous: false, ${redirect}}`,
    ]) {
      await reopen(yaml);
      const anonymous = await registry.get(path);
      expect([anonymous.status, anonymous.headers.location]).to.deep.equal([401, undefined]);
      const { status, body, headers } = await registry.get(path, basic('alice', 'secret'));
      if (overDirectory) {
        expect([status, body.equals(LAYER)]).to.deep.equal([200, true]);
        expect(headers['cache-control']).to.equal('private, max-age=31536000, immutable');
        continue;
      }
      // What is signed for a while may be led to; what everybody may read for ever may not.
      expect([status, body.length]).to.deep.equal([307, 0]);
      expect(headers.location).to.match(/^https:\/\/s3\.example\.com\/.*Signature=/);
      expect(headers['cache-control']).to.equal('no-store');
    }
  });
});
