/**
 * Goal: the shipped configurations set everything they rely on. The enclosing server settings compress,
 * cache open files and guess types by extension, as distribution defaults and local settings do.
 */

import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { prepareInbox } from '#src/inbox/claim.js';
import { ask } from '../support/ask.js';
import { DaemonProcess } from '../support/daemon-process.js';
import { deliver, dropPath } from '../support/deliver.js';
import { openTempDir } from '../support/for-everybody.js';
import { layerBytes, makeLayout, sha256, type TestDescriptor } from '../support/make-image.js';
import { type TestServices, testServices } from '../support/service.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { needTools } from '../support/tools.js';
import { apache, nginxAlone, nginxWithDropdock, type WebServer } from '../support/web-servers.js';

const OCI = 'application/vnd.oci.image.manifest.v1+json';
const DOCKER = 'application/vnd.docker.distribution.manifest.v2+json';
const LAYER = sha256(layerBytes('base'));

const NGINX = `
types { text/html html; application/x-gzip gz; }
charset utf-8;
charset_types *;
gzip on;
gzip_types *;
gzip_min_length 1;
gzip_proxied any;
etag off;
open_file_cache max=1000 inactive=1h;
open_file_cache_valid 1h;
open_file_cache_errors on;
`;

/** mod_mime's lines are those of Debian's mime.conf and of many a host. */
const APACHE = [
  ...['load:dir', 'load:autoindex', 'load:filter', 'load:deflate', 'load:mime_magic'],
  ...['load:negotiation', 'load:include'],
  'SetOutputFilter DEFLATE',
  'AddDefaultCharset utf-8',
  'AddEncoding x-gzip .gz .tgz',
  'AddHandler type-map var',
  'AddOutputFilter INCLUDES .shtml',
  'FileETag INode',
  '<Directory />\nOptions None\nAllowOverride None\nRequire all denied\n</Directory>',
];

const ODD_TAGS = ['1.0.html', '1.0.gz', '1.0.var', '1.0.shtml'];

describe('shipped configurations inside unfavorable server settings', function () {
  this.timeout(60_000);
  let root: string;
  let services: TestServices;
  let image: TestDescriptor;
  let files: WebServer;
  let alone: WebServer;
  let front: WebServer;
  let endpoint: DaemonProcess;

  async function publish(tag: string, text: string): Promise<TestDescriptor> {
    const layout = join(tempDir(), 'layout');
    const made = makeLayout(layout, { layers: ['base', text], tag });
    cpSync(layout, dropPath(root, 'app'), { recursive: true });
    await deliver(services, 'app');
    return made;
  }

  before(async function () {
    needTools(this, 'nginx', 'apache2');
    root = openTempDir();
    const published = join(root, 'published');
    const yaml = 'registry: {listen: "127.0.0.1:0", blobs: x-accel}\n';
    services = await testServices(root, { yaml });
    await services.run(prepareInbox, { inbox: services.inbox });
    for (const tag of ODD_TAGS) image = await publish(tag, 'odd');
    endpoint = await DaemonProcess.start(root, { command: 'serve', yaml });
    files = await apache(published, APACHE);
    alone = await nginxAlone(published, NGINX);
    front = await nginxWithDropdock(published, endpoint.registry, NGINX);
  });

  after(async () => {
    for (const server of [files, alone, front, endpoint]) await server?.stop();
    await services?.close();
    removeTempDirs();
  });

  it('serve manifests without compression, charset or a type guessed from the tag', async () => {
    const headers = { 'accept-encoding': 'gzip, br', accept: `${OCI}, ${DOCKER}` };
    for (const tag of [...ODD_TAGS, image.digest]) {
      for (const [server, path] of [
        [alone, `/v2/app/manifests/${tag}`],
        [front, `/v2/app/manifests/${tag}`],
        [files, `/pulp/docker/v2/app/manifests/oci/${tag}`],
      ] as const) {
        const got = await ask(server.url, path, { headers });
        const where = `${server.url}${path}`;
        expect(got.status, where).to.equal(200);
        expect(got.headers['content-type'], where).to.equal(OCI);
        expect(got.headers, where).not.to.have.property('content-encoding');
        expect(got.headers['content-length'], where).to.equal(String(image.size));
        expect(sha256(got.body), where).to.equal(image.digest);
        expect(got.headers.etag, where).to.be.a('string');
      }
    }
    for (const { url } of [alone, front]) {
      const { headers: sent } = await ask(url, '/v2/app/tags/list', { headers });
      expect([sent['content-type'], sent['content-encoding']]).to.deep.equal([
        'application/json',
        undefined,
      ]);
    }
  });

  it('look up recently opened files again', async () => {
    await publish('moving', 'first 0');
    let before = (await ask(alone.url, '/v2/app/manifests/moving')).headers.etag ?? '';
    for (let n = 1; n < 10; n++) {
      expect((await ask(alone.url, `/v2/app/manifests/new-${n}`)).code).to.equal(
        'MANIFEST_UNKNOWN',
      );
      const { digest } = await publish('moving', `first ${n}`);
      await publish(`new-${n}`, `first ${n}`);
      for (const tag of ['moving', `new-${n}`]) {
        const headers = { 'if-none-match': before };
        const got = await ask(alone.url, `/v2/app/manifests/${tag}`, { headers });
        expect(sha256(got.body), `${tag} ${n}`).to.equal(digest);
        if (tag === 'moving') before = got.headers.etag ?? '';
      }
    }
  });

  it('send no header twice, also with errors', async () => {
    const blob = `/v2/app/blobs/${LAYER}`;
    for (const { url } of [alone, front]) {
      for (const [path, range, status] of [
        [blob, 'bytes=0-1', 206],
        [blob, 'bytes=99999-', 416],
        ['/v2/app/manifests/none', '', 404],
        ['/v2/', '', 200],
      ] as const) {
        const got = await ask(url, path, { headers: range ? { range } : {} });
        expect(got.status, url + path).to.equal(status);
        // Node joins what comes twice with a comma.
        expect(got.headers['docker-distribution-api-version'], url + path).to.equal('registry/2.0');
        const caching = got.headers['cache-control']?.split('public').length ?? 1;
        expect(caching, url + path).to.be.at.most(2);
        if (status === 416) expect(got.headers['content-range']).to.match(/^bytes \*\/\d+$/);
      }
    }
  });

  it('resume a download with the ETag from dropdock', async () => {
    const path = `/v2/app/blobs/${LAYER}`;
    const whole = await ask(front.url, path);
    expect(whole.headers.etag).to.equal(`"${LAYER}"`);
    const range = 'bytes=2-';
    const rest = await ask(front.url, path, { headers: { range, 'if-range': `"${LAYER}"` } });
    expect([rest.status, rest.body.equals(whole.body.subarray(2))]).to.deep.equal([206, true]);
    const other = await ask(front.url, path, { headers: { range, 'if-range': '"other"' } });
    expect([other.status, other.body.equals(whole.body)]).to.deep.equal([200, true]);
  });

  it('return a JSON error from nginx when dropdock is down', async () => {
    await endpoint.stop();
    const got = await ask(front.url, '/v2/app/tags/list');
    expect([got.status, got.code]).to.deep.equal([503, 'UNAVAILABLE']);
    expect(got.headers['retry-after']).to.equal('5');
  });
});
