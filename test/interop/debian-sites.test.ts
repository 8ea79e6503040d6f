/**
 * Goal: the shipped configurations work on Debian when installed as their header comments say, beside the
 * default sites and without further changes. Method: copies of Debian's own configuration trees of nginx
 * and Apache, with another port.
 */
import { chmodSync, existsSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { dirname, join } from 'node:path';
import { expect } from 'chai';
import { ask, type Reply } from '../support/ask.js';
import { DaemonProcess } from '../support/daemon-process.js';
import { TestContent, type TestDescriptor } from '../support/make-image.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { TestRegistry } from '../support/test-registry.js';
import { needTools, tool } from '../support/tools.js';
import {
  DEBIAN,
  debianApache,
  debianNginx,
  shippedConfig,
  type WebServer,
} from '../support/web-servers.js';

const OTHER_SITE =
  'server { listen 80; server_name other.example.com; return 200 "another site"; }';
const HAS_IPV6 = Object.values(networkInterfaces())
  .flat()
  .some((each) => each?.address === '::1');

describe('a Debian with its default sites', function () {
  this.timeout(60_000);
  let registry: TestRegistry;
  let published: string;
  let image: TestDescriptor;
  const ends: (() => Promise<unknown>)[] = [];

  before(async () => {
    const root = tempDir();
    chmodSync(root, 0o755);
    published = join(root, 'published');
    registry = await TestRegistry.open(root, { yaml: 'registry: {blobs: x-accel}' });
    const content = new TestContent();
    image = content.image({ docker: true });
    await registry.drop('team/app', content, [{ image, tag: '1' }]);
  });
  afterEach(async () => {
    for (const end of ends.splice(0)) await end();
  });
  after(async () => {
    await registry.close();
    removeTempDirs();
  });

  const nginx = (context: Mocha.Context) => {
    needTools(context, 'nginx', 'skopeo');
    if (!existsSync(join(DEBIAN.nginx, 'sites-enabled/default'))) context.skip();
    if (!HAS_IPV6) context.skip();
  };

  /** Under any name and over both kinds of addresses; other sites stay what they are. */
  async function expectRegistry(server: WebServer): Promise<void> {
    ends.push(server.stop);
    const { port } = new URL(server.url);
    const said = (host: string, address = '127.0.0.1'): Promise<Reply> =>
      ask(`http://${address}:${port}`, '/v2/', { headers: { Host: host } });
    for (const host of ['images.example.com', `127.0.0.1:${port}`, 'localhost', 'my-host:5000']) {
      for (const address of ['127.0.0.1', '[::1]']) {
        const { status, json } = await said(host, address);
        expect([status, json], `${host} at ${address}`).to.deep.equal([200, {}]);
      }
    }
    expect(String((await said('other.example.com')).body)).to.equal('another site');
    for (const reference of [':1', `@${image.digest}`]) {
      const from = `docker://localhost:${port}/team/app${reference}`;
      await tool('skopeo', 'copy', '--src-tls-verify=false', from, `dir:${tempDir()}`);
    }
    expect(server.errors()).to.not.match(/\[(warn|error|emerg)\]/);
  }

  it('serves with nginx alone when its file is placed in conf.d', async function () {
    nginx(this);
    const files = { 'registry.conf': shippedConfig('nginx/registry.conf', published) };
    await expectRegistry(await debianNginx(files, { other: OTHER_SITE }));
  });

  it('serves with nginx and dropdock when its file is placed in conf.d', async function () {
    nginx(this);
    const yaml = 'registry: {listen: "127.0.0.1:0", blobs: x-accel}';
    const endpoint = await DaemonProcess.start(registry.root, { command: 'serve', yaml });
    ends.push(() => endpoint.stop());
    const text = shippedConfig('nginx/with-dropdock.conf', published);
    const files = {
      'with-dropdock.conf': text.replace('server 127.0.0.1:5000;', `server ${endpoint.registry};`),
    };
    await expectRegistry(await debianNginx(files, { other: OTHER_SITE }));
  });

  it('has the directory in which nginx creates its cache', function () {
    nginx(this);
    const text = shippedConfig('nginx/objects.conf', published);
    const [, path = ''] = /^proxy_cache_path (\S+)/m.exec(text) ?? [];
    expect(existsSync(dirname(path)), path).to.equal(true);
  });

  it('serves with Apache when its file is enabled, including content Crane has not loaded yet', async function () {
    needTools(this, 'apache2');
    if (!existsSync(join(DEBIAN.apache, 'sites-available/000-default.conf'))) this.skip();
    const server = await debianApache(published);
    ends.push(server.stop);
    const tree = '/pulp/docker/v2/team~app/manifests';
    const accept = { Accept: image.mediaType };
    for (const path of ['2/1', `2/${image.digest}`, `1/${image.digest}`, '1/1', 'list/1']) {
      const { status, headers } = await ask(server.url, `${tree}/${path}`, { headers: accept });
      expect([status, headers['content-type']], path).to.deep.equal([200, image.mediaType]);
    }
    const { status, json } = await ask(server.url, `${tree}/2/none`);
    expect([status, json]).to.deep.equal([
      404,
      {
        errors: [{ code: 'MANIFEST_UNKNOWN', message: 'manifest unknown to registry', detail: {} }],
      },
    ]);
  });
});
