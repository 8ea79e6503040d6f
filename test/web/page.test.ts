/** The page over HTTP: what it shows of the published content, and what it rejects. */
import { renameSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { expect } from 'chai';
import type { Reply } from '../support/ask.js';
import { FakeDaemon, knownDrop } from '../support/fake-daemon.js';
import { TestContent } from '../support/make-image.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { describeOver, TestRegistry } from '../support/test-registry.js';
import { waitFor } from '../support/wait-for.js';

const textOf = ({ body }: Reply) => body.toString('utf8');

describeOver('the page', (over) => {
  const inDirectory = over === 'a directory' ? it : () => {};

  let root: string;
  let registry: TestRegistry;
  let daemon: FakeDaemon;
  let sockets: Socket[];

  beforeEach(async () => {
    root = tempDir();
    sockets = [];
    daemon = new FakeDaemon();
    registry = await TestRegistry.open(root, { page: { daemon } });
    await publish('team/app', '1.0', 'one');
  });
  afterEach(async () => {
    for (const socket of sockets) socket.destroy();
    await registry.close();
    removeTempDirs();
  });

  async function publish(name: string, tag: string, layer: string): Promise<string> {
    const content = new TestContent();
    const platform = { os: 'linux', architecture: 'riscv64' };
    const image = content.image({ layers: [layer], platform });
    await registry.drop(name, content, [{ image, tag }]);
    return image.digest;
  }
  async function reopen(options: Parameters<typeof TestRegistry.open>[1]): Promise<void> {
    await registry.close();
    registry = await TestRegistry.open(root, options);
  }
  /** An event stream; what came is in `got`. */
  async function listen(path = '/-/live'): Promise<{ socket: Socket; got: () => string }> {
    const { hostname, port } = new URL(registry.server.url);
    const socket = connect(Number(port), hostname);
    sockets.push(socket);
    let got = '';
    socket.on('data', (data) => {
      got += data;
    });
    socket.on('error', () => {});
    socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`);
    await waitFor('an answer', () => got.includes('\r\n\r\n'));
    return { socket, got: () => got };
  }

  it('shows repositories, tags with their type, and how to pull them', async () => {
    const home = await registry.get('/');
    expect(home.status).to.equal(200);
    expect(home.headers['content-type']).to.equal('text/html; charset=utf-8');
    expect(textOf(home)).to.contain('<a href="/-/tags/team/app"><bdi>team/app</bdi></a>');
    const digest = await publish('team/app', '1.1', 'two');
    const tags = textOf(await registry.get('/-/tags/team/app'));
    expect(tags).to.contain('linux/riscv64').and.contain(`title="${digest}"`);
    expect(tags.indexOf('app:1.1')).to.be.greaterThan(tags.indexOf('app:1.0'));
    const byAge = textOf(await registry.get('/-/tags/team/app?sort=age'));
    expect(byAge.indexOf('app:1.1')).to.be.lessThan(byAge.indexOf('app:1.0'));
    for (const q of ['.1', digest, digest.slice(7, 17)]) {
      const found = textOf(await registry.get(`/-/tags/team/app?q=${q}`));
      expect(found).to.contain('app:1.1').and.not.contain('app:1.0');
    }
    const host = { host: 'images.example.com' };
    const image = textOf(await registry.get('/-/image/team/app:1.1', host));
    expect(image).to.contain('docker pull images.example.com/team/app:1.1');
    expect(image).to.contain(`docker pull images.example.com/team/app@${digest}`);
    expect(image).to.contain(
      'skopeo copy --src-tls-verify=false docker://images.example.com/team/app:1.1 oci:app:1.1<',
    );
    const byDigest = textOf(await registry.get(`/-/image/team/app@${digest}`, host));
    expect(byDigest).to.contain(`docker pull images.example.com/team/app@${digest}`);
    expect(byDigest).to.contain(`docker://images.example.com/team/app@${digest} oci:app<`);
  });

  it('ignores a Host header that is not a valid name', async () => {
    const host = { host: 'x<b>; rm -rf /' };
    const image = textOf(await registry.get('/-/image/team/app:1.0', host));
    expect(image).to.contain('docker pull localhost/team/app:1.0').and.not.contain('rm -rf');
  });

  it('shows the changes of each publish, from the snapshots alone', async () => {
    await publish('team/app', '1.1', 'two');
    await publish('team/app@again', '1.0', 'three');
    const text = textOf(await registry.get('/-/history/team/app'));
    expect(text.match(/1 tag added/g)).to.have.length(2);
    expect(text.match(/1 tag moved/g)).to.have.length(1);
    expect(text).to.contain('team/app@again').and.contain('badge current');
    expect(text.match(/<li[^>]*>\n<h2>Published/g)).to.have.length(3);
  });

  it('adds the daemon’s records: reasons, and what was removed', async () => {
    await publish('team/app', '1.1', 'two');
    const current = /Snapshot <code>([^<]+)</.exec(textOf(await registry.get('/-/tags/team/app')));
    const flip = { drops: [], kept: false, current: false };
    daemon.flips = [
      {
        ...flip,
        at: '20261124T000000.000Z',
        snapshot: current?.[1] ?? '',
        why: 'rollback',
        detail: '20250101T000000.000Z',
        kept: true,
        current: true,
      },
      ...Array.from({ length: 14 }, (_none, n) => ({
        ...flip,
        at: `202001${10 + n}T000000.000Z`,
        snapshot: `202001${10 + n}T000000.000Z`,
        why: 'untag',
        detail: `old${n}`,
      })),
    ];
    const text = textOf(await registry.get('/-/history/team/app'));
    expect(text).to.contain('Rolled back to 20250101T000000.000Z').and.contain('1 tag added');
    expect(text).to.contain('old8').and.not.contain('old9');
    const older = /href="(\/-\/history\/team\/app\?before=[^"]+)"/.exec(text)?.[1] ?? '';
    expect(textOf(await registry.get(older)))
      .to.contain('old9')
      .and.contain('old13');
  });

  it('answers HEAD and conditional requests, and restricts itself with security headers', async () => {
    for (const path of [
      '/',
      '/-/inbox',
      '/-/tags/team/app',
      '/-/history/team/app',
      '/-/image/team/app:1.0',
      '/-/help',
      '/-/page.css',
    ]) {
      const got = await registry.get(path);
      const head = await registry.head(path);
      expect([got.status, head.status, head.body.length], path).to.deep.equal([200, 200, 0]);
      expect(head.headers['content-length']).to.equal(String(got.body.length));
      const policy = String(got.headers['content-security-policy']);
      expect(policy).to.contain("default-src 'none'").and.contain("frame-ancestors 'none'");
      expect(policy).to.not.match(/unsafe|\*|data:/);
      expect(got.headers).to.include({ 'x-content-type-options': 'nosniff' });
    }
    for (const path of ['/-/page.css', '/-/page.js', '/-/icon.svg']) {
      const { headers } = await registry.get(path);
      const again = await registry.get(path, { 'if-none-match': headers.etag ?? '' });
      expect([again.status, again.body.length], path).to.deep.equal([304, 0]);
    }
    const { headers } = await registry.get('/');
    expect(headers).to.include({ 'cache-control': 'private, no-cache', vary: 'Authorization' });
    expect((await registry.ask('/', { method: 'POST' })).status).to.equal(405);
    const stream = await registry.head('/-/live');
    expect([stream.status, stream.headers['content-type']]).to.deep.equal([
      200,
      'text/event-stream',
    ]);
  });

  it('reports missing objects, and keeps running', async () => {
    for (const path of [
      '/-/tags/nobody',
      '/-/history/nobody',
      '/-/image/nobody:1.0',
      '/-/image/team/app:absent',
      `/-/image/team/app@sha256:${'0'.repeat(64)}`,
      '/-/x',
      '/-/tags/',
    ]) {
      const { status, headers, body } = await registry.get(path);
      expect(status, path).to.equal(404);
      expect(headers['content-type']).to.match(/html/);
      expect(headers['cache-control']).to.equal('no-store');
      expect(body.toString()).to.contain('<h1>Not found</h1>');
    }
    expect((await registry.get('/elsewhere')).code).to.equal('NAME_UNKNOWN');
  });

  it('is absent when it is disabled', async () => {
    await reopen({});
    for (const path of ['/', '/-/inbox', '/-/page.css', '/-/live']) {
      expect((await registry.get(path)).code, path).to.equal('NAME_UNKNOWN');
    }
  });

  it('reports that the inbox is not visible, and sends no stream', async () => {
    await reopen({ page: {} });
    expect(textOf(await registry.get('/-/inbox'))).to.contain('does not read the inbox');
    expect(textOf(await registry.get('/'))).to.contain('does not read the inbox');
    expect((await registry.get('/-/live')).status).to.equal(404);
  });

  inDirectory('names what is damaged, and shows the others', async () => {
    await publish('other', '1', 'x');
    const file = registry.web('team~app', '.snapshot.json');
    writeFileSync(`${file}.new`, 'damaged');
    renameSync(`${file}.new`, file);
    const text = textOf(await registry.get('/'));
    expect(text).to.contain('cannot be read').and.contain('/-/tags/other');
    expect((await registry.get('/-/tags/team/app')).status).to.equal(500);
    expect(registry.errors.map(({ message }) => message).join()).to.contain('is damaged');
  });

  it('returns one page of many repositories', async () => {
    for (let n = 0; n < 3; n++) await publish(`many/r${n}`, '1', 'x');
    const text = textOf(await registry.get('/?q=r1'));
    expect(text).to.contain('many/r1').and.contain('1 found').and.not.contain('many/r2');
    expect(textOf(await registry.get('/?q=%3Cb%3E')))
      .to.contain('&lt;b&gt;')
      .and.not.contain('<b>“');
    expect(textOf(await registry.get('/?page=7')), 'the last there is').to.contain('many/r1');
  });

  it('sends inbox updates, identical for all clients with the same access', async () => {
    const one = await listen();
    const two = await listen('/-/live?view=home');
    await waitFor('the first look', () => one.got().includes('No drop is waiting'));
    daemon.set(knownDrop('team/app', { kind: 'waiting', state: 'waiting', reason: 'a\nb<i>' }));
    for (const { got } of [one, two]) await waitFor('it', () => got().includes('1 waiting'));
    expect(one.got()).to.contain('data: b&lt;i&gt;').and.not.contain('<i>');
    expect(one.got())
      .to.match(/^HTTP\/1\.1 200 OK\r\n/)
      .and.match(/no-store/);
  });

  it('sends the repositories when one is published, as the page was asked for', async () => {
    const all = await listen('/-/live?view=home');
    const some = await listen('/-/live?view=home&q=oth');
    for (const { got } of [all, some]) {
      await waitFor('the first list', () => got().includes('event: repositories'));
    }
    expect(all.got()).to.contain('/-/tags/team/app').and.not.contain('/-/tags/other');
    await publish('other', '1', 'x');
    registry.mirror();
    daemon.set();
    for (const { got } of [all, some]) {
      await waitFor('the new one', () => got().includes('/-/tags/other'));
    }
    expect(some.got()).to.not.contain('/-/tags/team/app');
  });

  it('sorts repositories by name, size and time', async () => {
    await publish('b', '1', 'x'.repeat(5000));
    await publish('a', '1', 'x');
    const orderOf = async (query: string) =>
      [...textOf(await registry.get(`/${query}`)).matchAll(/"\/-\/tags\/([^"]+)"/g)].map(
        ([, name]) => name,
      );
    expect(await orderOf('')).to.deep.equal(['a', 'b', 'team/app']);
    expect(await orderOf('?sort=size')).to.deep.equal(['b', 'team/app', 'a']);
    expect(await orderOf('?sort=age')).to.deep.equal(['a', 'b', 'team/app']);
    const sorted = textOf(await registry.get('/?sort=size'));
    expect(sorted).to.match(/<th[^>]* aria-sort="descending">Size/);
  });

  it('leads browsers from a typed name to its page, and changes nothing for others', async () => {
    const html = { accept: 'text/html,*/*;q=0.8' };
    for (const [typed, address] of [
      ['/team/app', '/-/tags/team/app'],
      ['/team/app/', '/-/tags/team/app'],
      ['/team/app:1.0', '/-/image/team/app:1.0'],
    ] as const) {
      const { status, headers } = await registry.get(typed, html);
      expect([status, headers.location], typed).to.deep.equal([303, address]);
      expect((await registry.get(typed)).code, typed).to.equal('NAME_UNKNOWN');
    }
    const plain = await registry.get('/v2/team/app/tags/list');
    const asked = await registry.get('/v2/team/app/tags/list', html);
    expect([asked.status, asked.body]).to.deep.equal([plain.status, plain.body]);
  });

  it('shows the version and a link to the documentation', async () => {
    const home = textOf(await registry.get('/'));
    expect(home).to.contain('<footer>dropdock 1.2.3 <a href="/-/help">');
    expect(textOf(await registry.get('/-/help'))).to.contain('man dropdock.yaml');
  });

  it('sends progress updates by itself', async () => {
    daemon.moving = true;
    const progress = { done: 10, total: 100 };
    const running = knownDrop('team/app', { kind: 'running', state: 'publishing', progress });
    daemon.set(running);
    const { got } = await listen();
    await waitFor('10%', () => got().includes('10%'));
    daemon.known = [{ ...running, progress: { done: 73, total: 100 } }];
    await waitFor('73%', () => got().includes('73%'));
  });

  it('limits streams, forgets closed ones, keeps others alive, and ends them all', async () => {
    await reopen({
      page: { daemon },
      yaml: 'registry: {connections: 8, idle: 300ms}',
      idleMs: 300,
    });
    const [first, second] = [await listen(), await listen()];
    const third = await listen();
    expect(third.got())
      .to.match(/^HTTP\/1\.1 503 /)
      .and.match(/retry-after: 1/i);
    third.socket.destroy();
    first.socket.destroy();
    const next = await waitFor('room', async () => {
      const stream = await listen();
      return stream.got().includes('200 OK') && stream;
    });
    // Heartbeats keep what nothing happens on: it is three times older than what is idle may be.
    const beats = () => second.got().split(':\n\n').length;
    await waitFor('heartbeats', () => beats() > 10);
    registry.page?.close();
    for (const { socket } of [second, next]) await waitFor('the end', () => socket.closed);
  });
});

describe('shutdown of the page', () => {
  it('does not wait for open streams', async () => {
    const daemon = new FakeDaemon();
    const registry = await TestRegistry.open(join(tempDir(), 'x'), { page: { daemon } });
    const { hostname, port } = new URL(registry.server.url);
    const socket = connect(Number(port), hostname);
    socket.write('GET /-/live HTTP/1.1\r\nHost: x\r\n\r\n');
    let got = '';
    socket.on('data', (data) => {
      got += data;
    });
    await waitFor('the stream', () => got.includes('retry:'));
    const began = performance.now();
    registry.page?.close();
    await registry.server.close(10_000);
    expect(performance.now() - began).to.be.lessThan(3000);
    expect(daemon.listeners).to.equal(0);
    await registry.close();
    removeTempDirs();
  });
});
