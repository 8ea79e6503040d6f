/**
 * Goal: the shipped configurations of nginx, Apache and Crane serve published content to real clients, in
 * strict conformance with HTTP. Each serves the same repository.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { ask as request } from '../support/ask.js';
import { readByteRanges } from '../support/byte-ranges.js';
import { makeLayout, sha256 } from '../support/make-image.js';
import { ACCEPT_ALL } from '../support/puller.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { needTools, tool } from '../support/tools.js';
import { ends, index, publish, root, servers, single, start } from './served.js';

const OCI = 'application/vnd.oci.image';
const DOCKER = 'application/vnd.docker.distribution.manifest';
const insecure = '--src-tls-verify=false';

const ask = (way: string, path: string, init?: RequestInit) =>
  fetch(`${servers[way]?.url}${path}`, { redirect: 'manual', ...init });
const askFor = (way: string, path: string, accept: string, method = 'GET') =>
  ask(way, path, { method, headers: { Accept: accept } });

const errorOf = async (response: Response) => {
  const { errors } = (await response.json()) as { errors: { code: string; detail: object }[] };
  return errors[0] ?? { code: '', detail: {} };
};
/** `app/blobs/sha256:…`: what an error about it names. */
function detailOf(path: string): { detail: object } {
  const [name = '', kind, reference = ''] = path.split('/');
  if (name === 'none') return { detail: { name } };
  return { detail: { name, [kind === 'blobs' ? 'digest' : 'reference']: reference } };
}

describe('common web servers', function () {
  this.timeout(60_000);

  before(async function () {
    needTools(this, 'nginx', 'apache2', 'skopeo', 'umoci');
    await start();
  });

  after(async () => {
    for (const end of ends) await end();
    removeTempDirs();
  });

  for (const way of ['nginx', 'nginx and dropdock', 'Apache and Crane']) {
    it(`${way}: skopeo copies an image, an index, by tag and by digest`, async () => {
      const host = servers[way]?.url.replace('http://', '');
      const copied = async (name: string) => {
        const to = join(tempDir(), 'copy');
        await tool('skopeo', 'copy', insecure, '--all', `docker://${host}/${name}`, `dir:${to}`);
        return sha256(readFileSync(join(to, 'manifest.json')));
      };
      const originals = way !== 'Apache and Crane';
      for (const name of ['team/sub/real:1.0', 'app:1', 'app:2']) {
        const digest = await copied(name);
        // Crane knows no OCI: it leads to the Docker form, which has a digest of its own.
        if (name === 'app:1') expect(digest === index.digest).to.equal(originals);
        const [repository] = name.split(':');
        expect(await copied(`${repository}@${digest}`)).to.equal(digest);
      }
      expect(await copied(`app@${index.digest}`)).to.equal(index.digest);
    });
  }

  it('nginx and dropdock: serve the page and its assets; nginx alone has none', async () => {
    for (const path of ['/', '/-/page.css', '/-/page.js', '/-/tags/app', '/-/inbox', '/?q=app']) {
      const { status, headers } = await ask('nginx and dropdock', path);
      expect([status, headers.get('content-security-policy') !== null], path).to.deep.equal([
        200,
        true,
      ]);
      expect((await ask('nginx', path)).status, path).to.equal(404);
    }
    const { host } = new URL(servers['nginx and dropdock']?.url ?? '');
    const image = await (await ask('nginx and dropdock', '/-/image/app:1')).text();
    expect(image).to.contain(`docker pull ${host}/app:1`);
  });

  for (const way of ['nginx', 'nginx and dropdock']) {
    it(`${way}: sends the exact type of each form, chosen by the Accept header`, async () => {
      const forms: [string, string, string][] = [
        ['1', ACCEPT_ALL, `${OCI}.index.v1+json`],
        ['1', `${DOCKER}.v2+json, ${DOCKER}.list.v2+json`, `${DOCKER}.list.v2+json`],
        ['1', '*/*', `${OCI}.index.v1+json`],
        ['2', ACCEPT_ALL, `${OCI}.manifest.v1+json`],
        ['2', `${DOCKER}.v2+json`, `${DOCKER}.v2+json`],
      ];
      for (const [tag, accept, type] of forms) {
        for (const method of ['GET', 'HEAD']) {
          const response = await askFor(way, `/v2/app/manifests/${tag}`, accept, method);
          expect(response.status).to.equal(200);
          expect(response.headers.get('content-type'), `${tag} ${accept}`).to.equal(type);
          expect(response.headers.get('cache-control')).to.equal('no-cache');
          expect(response.headers.get('vary')).to.equal('Accept');
          expect(Number(response.headers.get('content-length'))).to.be.greaterThan(100);
          await response.arrayBuffer();
        }
      }
    });

    it(`${way}: sends the digest, and allows caching, for requests by digest`, async () => {
      const manifest = await ask(way, `/v2/app/manifests/${single.digest}`);
      const { layers } = (await manifest.json()) as { layers: { digest: string }[] };
      const layer = layers[0]?.digest ?? '';
      for (const [path, digest] of [
        [`manifests/${single.digest}`, single.digest],
        [`blobs/${layer}`, layer],
      ]) {
        const response = await ask(way, `/v2/app/${path}`);
        expect(sha256(Buffer.from(await response.arrayBuffer()))).to.equal(digest);
        expect(response.headers.get('docker-content-digest')).to.equal(digest);
        expect(response.headers.get('cache-control')).to.include('immutable');
        const etag = response.headers.get('etag') ?? '';
        expect(etag).to.match(/^"/);
        const again = await ask(way, `/v2/app/${path}`, { headers: { 'If-None-Match': etag } });
        expect(again.status).to.equal(304);
      }
    });

    it(`${way}: ranges of blobs`, async () => {
      const manifest = await ask(way, `/v2/app/manifests/${single.digest}`);
      const { config } = (await manifest.json()) as { config: { digest: string; size: number } };
      const path = `/v2/app/blobs/${config.digest}`;
      const part = await ask(way, path, { headers: { Range: 'bytes=2-5' } });
      expect(part.status).to.equal(206);
      expect(part.headers.get('content-range')).to.equal(`bytes 2-5/${config.size}`);
      expect((await part.text()).length).to.equal(4);
      const several = await request(servers[way]?.url ?? '', path, {
        headers: { Range: 'bytes=0-1,2-3,-4' },
      });
      expect(readByteRanges(several).map(({ range }) => range.split('/')[0])).to.deep.equal([
        '0-1',
        '2-3',
        `${config.size - 4}-${config.size - 1}`,
      ]);
      // As long a header as podman sends.
      const many = Array.from({ length: 1024 }, (_none, n) => `${4e9 + n}-${4e9 + n}`).join();
      const long = await ask(way, path, { headers: { Range: `bytes=${many}` } });
      expect(long.status).to.equal(416);
      const beyond = await ask(way, path, { headers: { Range: 'bytes=99999-' } });
      expect(beyond.status).to.equal(416);
    });

    it(`${way}: serves tags, referrers and not-found errors`, async () => {
      const tags = await (await ask(way, '/v2/app/tags/list')).json();
      expect(tags).to.deep.equal({ name: 'app', tags: ['1', '2'] });
      for (const [subject, count] of [
        [index.digest, 1],
        [single.digest, 0],
        [`sha256:${'0'.repeat(64)}`, 0],
      ]) {
        const response = await ask(way, `/v2/app/referrers/${subject}`);
        expect(response.headers.get('content-type')).to.equal(`${OCI}.index.v1+json`);
        const { manifests } = (await response.json()) as { manifests: unknown[] };
        expect(manifests).to.have.length(Number(count));
      }
      const absent = `sha256:${'0'.repeat(64)}`;
      for (const [path = '', code] of [
        ['app/manifests/none', 'MANIFEST_UNKNOWN'],
        [`app/blobs/${absent}`, 'BLOB_UNKNOWN'],
        ['none/manifests/1', 'NAME_UNKNOWN'],
        ['none/tags/list', 'NAME_UNKNOWN'],
        [`none/blobs/${absent}`, 'NAME_UNKNOWN'],
      ]) {
        const response = await ask(way, `/v2/${path}`);
        expect(response.status, path).to.equal(404);
        expect(await errorOf(response), path).to.deep.include({ code, ...detailOf(path) });
      }
      const unknown = await ask(way, `/v2/none/referrers/${absent}`);
      expect([unknown.status, unknown.headers.get('content-type')]).to.deep.equal([
        200,
        `${OCI}.index.v1+json`,
      ]);
      expect(await unknown.json()).to.deep.include({ schemaVersion: 2, manifests: [] });
      for (const path of ['blobs/sha256:1', 'referrers/sha256:1', 'manifests/sha256:1']) {
        const malformed = await ask(way, `/v2/app/${path}`);
        expect([malformed.status, (await errorOf(malformed)).code], path).to.deep.equal([
          400,
          'DIGEST_INVALID',
        ]);
      }
      const write = await ask(way, '/v2/app/blobs/uploads/', { method: 'POST' });
      expect(write.status).to.equal(405);
      expect(await write.text()).to.include('UNSUPPORTED');
    });
  }

  it('exposes no dot files and no paths outside the tree', async () => {
    const paths = [
      '/v2/app/.snapshot.json',
      '/v2/app/manifests/../.snapshot.json',
      '/v2/app/manifests/..%2f.snapshot.json',
      '/v2/%2e%2e/%2e%2e/state/manifests/x',
      '/v2/app/blobs/..%2f..%2f.snapshot.json',
      '/dropdock-blobs/app/',
      '/pulp/docker/v2/app/.snapshot.json',
      '/pulp/docker/v2/app/%2esnapshot.json',
      '/pulp/docker/v2/../../../state/',
      '/pulp/docker/snapshots/app/',
      '/v2/app/manifests/%00',
    ];
    for (const way of ['nginx', 'nginx and dropdock', 'apache']) {
      const { port } = new URL(servers[way]?.url ?? '');
      for (const path of paths) {
        const given = [
          '-s',
          '--path-as-is',
          '-w',
          '%{http_code}',
          `http://127.0.0.1:${port}${path}`,
        ];
        const answer = await tool('curl', ...given);
        expect(answer, `${way} ${path}`).to.match(/(400|403|404)$/);
        expect(answer, `${way} ${path}`).not.to.include('"conversions"');
      }
    }
  });

  it('Apache sets the type for each directory, whatever a tag looks like', async () => {
    makeLayout(join(root, 'odd'), { layers: ['base', 'odd'], tag: '1.0.html' });
    await publish(join(root, 'odd'), 'app');
    const types: [string, string][] = [
      ['manifests/oci/1.0.html', `${OCI}.manifest.v1+json`],
      ['manifests/2/1.0.html', `${DOCKER}.v2+json`],
      ['manifests/list/1', `${DOCKER}.list.v2+json`],
      ['manifests/oci-index/1', `${OCI}.index.v1+json`],
      [`manifests/1/${index.digest}`, `${OCI}.index.v1+json`],
    ];
    for (const [path, type] of types) {
      const response = await ask('apache', `/pulp/docker/v2/app/${path}`);
      expect(response.headers.get('content-type'), path).to.equal(type);
    }
  });

  for (const [way, path] of [
    ['nginx', '/v2/moving/manifests/1'],
    ['nginx and dropdock', '/v2/moving/manifests/1'],
    ['apache', '/pulp/docker/v2/moving/manifests/oci/1'],
  ] as const) {
    it(`${way}: never answers "not modified" for a moved tag`, async () => {
      for (let n = 0; n < 30; n++) {
        const layout = join(tempDir(), 'layout');
        // All manifests of one size.
        makeLayout(layout, { layers: [`layer ${way.length + 10} ${n + 10}`], tag: '1' });
        const before = await askFor(way, path, ACCEPT_ALL);
        const etag = before.headers.get('etag');
        await publish(layout, 'moving');
        if (!etag || before.status !== 200) continue;
        const after = await ask(way, path, {
          headers: { 'If-None-Match': etag, Accept: ACCEPT_ALL },
        });
        expect(after.status, `move ${n}`).to.equal(200);
      }
    });
  }
});
