/** `dropdock serve --target` as a process: no directory, a store with outages, and what is logged. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { openStore } from '#src/targets/object-store/s3-store.js';
import { ask } from '../support/ask.js';
import { DaemonProcess } from '../support/daemon-process.js';
import { layerBytes, sha256 } from '../support/make-image.js';
import { credentialsFile, doubleOptions } from '../support/object-stores.js';
import { S3Double } from '../support/s3-double.js';
import { StorePublisher } from '../support/store-publisher.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { tool } from '../support/tools.js';
import { waitFor } from '../support/wait-for.js';

const TAG = '/v2/team/app/manifests/1';
const BLOB = `/v2/team/app/blobs/${sha256(layerBytes('1'))}`;
const SECRET = 'averysecretsecret';

describe('dropdock serve --target', function () {
  this.timeout(60_000);
  let store: S3Double;
  let publisher: StorePublisher;
  let root: string;
  let daemon: DaemonProcess | undefined;

  beforeEach(async () => {
    store = await S3Double.start();
    publisher = await new StorePublisher(await openStore(doubleOptions(store))).prepare();
    await publisher.publish(await publisher.stage('1'));
    root = tempDir();
  });
  afterEach(async () => {
    await daemon?.stop();
    daemon = undefined;
    await store.stop();
    removeTempDirs();
  });

  async function serve(settings: string): Promise<DaemonProcess> {
    const keys = credentialsFile('anid', SECRET);
    const target = `{type: s3, timeout: 500ms, endpoint: "${store.endpoint}", bucket: images, prefix: some/where, pathStyle: true, credentialsFile: ${keys}}`;
    const yaml = `registry: {listen: "127.0.0.1:0", ${settings}}\ntargets:\n  eu: ${target}\nlog: {level: debug}\n`;
    daemon = await DaemonProcess.start(root, { command: 'serve', yaml, flags: ['--target', 'eu'] });
    return daemon;
  }
  const said = async (path: string) => {
    const { status, code } = await ask(daemon?.url ?? '', path);
    return code === undefined ? String(status) : `${status} ${code}`;
  };

  it('needs no directory, and creates none', async () => {
    const { url } = await serve('blobs: stream');
    expect(await said(TAG)).to.equal('200');
    const { body } = await ask(url, BLOB);
    expect(sha256(body)).to.equal(BLOB.split('/').at(-1));
    expect((await ask(url, '/v2/_catalog')).json).to.deep.equal({ repositories: ['team/app'] });
    expect((await ask(url, '/')).body.toString()).to.contain('team/app');
    expect(await said('/readyz')).to.equal('200');
    expect(readdirSync(root)).to.deep.equal(['test.yaml']);
  });

  it('keeps running without the store, logs that once, and reconnects', async () => {
    const running = await serve('blobs: stream, pointerAge: 0s');
    expect(await said(TAG)).to.equal('200');
    store.trouble = () => 'cut before';
    for (let n = 0; n < 3; n++) expect(await said(TAG)).to.equal('200');
    expect(await said('/v2/team/app/manifests/2')).to.equal('503 UNKNOWN');
    expect(await said('/v2/other/manifests/1')).to.equal('503 UNKNOWN');
    expect(await said(BLOB)).to.equal('503 UNKNOWN');
    store.trouble = undefined;
    await publisher.publish(await publisher.stage('2'));
    await waitFor(
      'the store to be found again',
      async () => (await said('/v2/team/app/manifests/2')) === '200',
    );
    const events = running.output.match(/registry\.(?:away|back)/g);
    expect(events).to.deep.equal(['registry.away', 'registry.back']);
    expect(running.output).to.contain('target=eu').and.not.contain(SECRET);
    expect(running.output).to.not.contain('registry.error');
  });

  it('reports at startup that the store is unreachable, and serves once it is reachable', async () => {
    store.trouble = () => 403;
    const running = await serve('blobs: stream');
    await waitFor('the line', () => running.output.includes('registry.away'));
    expect(running.output).to.contain('answered 403');
    expect(await said(TAG)).to.equal('503 UNKNOWN');
    store.trouble = undefined;
    expect(await said(TAG)).to.equal('200');
    expect(running.output).to.contain('registry.back');
  });

  it('does not wait for a store that accepts a request and never answers', async () => {
    await serve('blobs: stream');
    expect(await said(TAG)).to.equal('200');
    store.trouble = ({ key }) => (key.includes('/blobs/') ? 'silent after' : undefined);
    expect(await said(BLOB)).to.equal('503 UNKNOWN');
    store.trouble = undefined;
    expect(await said(BLOB)).to.equal('200');
  });

  it('redirects to the store with URLs that contain no secret, and logs none of them', async () => {
    const running = await serve('signedFor: 60s');
    const { status, headers } = await ask(running.url, BLOB);
    expect(status).to.equal(307);
    const { location = '' } = headers;
    expect(location).to.contain('X-Amz-Expires=60').and.contain('anid').and.not.contain(SECRET);
    const blob = await fetch(location);
    expect(sha256(Buffer.from(await blob.arrayBuffer()))).to.equal(BLOB.split('/').at(-1));
    await waitFor('the line', () => running.output.includes('status=307'));
    expect(running.output).to.not.contain('X-Amz-Signature');
  });

  it('lists the existing targets when the target is unknown', async () => {
    const main = new URL('../../dist/main.js', import.meta.url).pathname;
    const given = ['serve', '--target', 'nowhere', '--root', join(root, 'x')];
    const failure = await tool(process.execPath, main, ...given).catch((error: Error) => error);
    expect(String(failure)).to.contain('unknown target "nowhere"; known targets: local');
  });
});
