/** Tokens of several processes on one tree: the daemon, and endpoints with and without access to its key. */
import { chmodSync, copyFileSync, existsSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { ask, basic } from '../support/ask.js';
import { DaemonProcess, QUICK } from '../support/daemon-process.js';
import { makeLayout } from '../support/make-image.js';
import { writeHtpasswd } from '../support/passwords.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { TestRegistry } from '../support/test-registry.js';
import { needTools } from '../support/tools.js';
import { waitFor } from '../support/wait-for.js';

const TAG = '/v2/team/app/manifests/1.0';

describe('tokens of several endpoints', function () {
  this.timeout(60_000);
  let root: string;
  let passwords: string;
  let running: DaemonProcess[];

  beforeEach(async () => {
    root = tempDir();
    running = [];
    passwords = join(root, 'htpasswd');
    writeHtpasswd(passwords, { alice: 'secret' });
    const registry = await TestRegistry.open(root);
    makeLayout(join(root, 'inbox', 'team', 'app'));
    await registry.take('team/app');
    await registry.close();
  });
  afterEach(async () => {
    await Promise.all(running.map((each) => each.stop('SIGKILL')));
    removeTempDirs();
  });

  const keys = () => join(root, 'state', 'tokens', 'keys');
  const yaml = (more = '') =>
    `${QUICK}registry: {listen: "127.0.0.1:0", htpasswd: ${passwords}${more}}\nrepositories: {"**": {protected: true}}\n`;
  async function start(options: Parameters<typeof DaemonProcess.start>[1]): Promise<DaemonProcess> {
    const config = `${running.length}.yaml`;
    const started = await DaemonProcess.start(root, { yaml: yaml(), config, ...options });
    running.push(started);
    return started;
  }
  async function token({ url }: DaemonProcess): Promise<string> {
    const path = '/v2/token?scope=repository:team/app:pull';
    const { json } = await ask(url, path, { headers: basic('alice', 'secret') });
    return (json as { token: string }).token;
  }
  const pull = async ({ url }: DaemonProcess, text: string) =>
    (await ask(url, TAG, { headers: { authorization: `Bearer ${text}` } })).status;

  it('are accepted by all processes that can read the key, and survive each of them', async () => {
    const serve = await start({ command: 'serve' });
    expect(existsSync(keys())).to.equal(false);
    expect(serve.output).to.match(/registry\.tokens key=memory hint=/);
    const own = await token(serve);
    const daemon = await start({ command: 'run' });
    expect(statSync(keys()).mode & 0o777).to.equal(0o600);
    expect(daemon.output).to.contain(`registry.tokens key=${keys()}`);
    const shared = await token(daemon);
    await waitFor('the key to be seen', async () => (await pull(serve, shared)) === 200);
    // Nothing that was given out is taken back by that.
    expect(await pull(serve, own)).to.equal(200);
    expect(await pull(daemon, await token(serve))).to.equal(200);
    await daemon.stop('SIGKILL');
    expect(await pull(await start({ command: 'run' }), shared)).to.equal(200);
    expect(await pull(await start({ command: 'serve' }), shared)).to.equal(200);
  });

  it('all become invalid when the key is deleted and the daemon reloads', async () => {
    const daemon = await start({ command: 'run' });
    const old = await token(daemon);
    rmSync(keys());
    daemon.child.kill('SIGHUP');
    await waitFor('a new key', () => existsSync(keys()));
    await waitFor('its use', async () => (await pull(daemon, old)) === 401);
    expect(await pull(daemon, await token(daemon))).to.equal(200);
  });

  it('survive a reload, also one that names another key and is reverted', async () => {
    const daemon = await start({ command: 'run' });
    const old = await token(daemon);
    const reload = async (more: string, line: RegExp) => {
      writeFileSync(join(root, '0.yaml'), yaml(more));
      const said = daemon.output.length;
      daemon.child.kill('SIGHUP');
      await waitFor('the reload', () => line.test(daemon.output.slice(said)));
    };
    await reload(', pointerAge: 1s', /settings\.reloaded/);
    expect(await pull(daemon, old)).to.equal(200);
    const own = join(root, 'token.key');
    writeFileSync(own, `${'k'.repeat(43)}\n`);
    await reload(`, tokenKey: ${own}`, new RegExp(`registry\\.tokens key=${own}`));
    expect(await pull(daemon, old)).to.equal(401);
    await reload('', new RegExp(`registry\\.tokens key=${keys()}`));
    expect(await pull(daemon, old)).to.equal(200);
  });

  it('of a process without access to the key are private; with registry.tokenKey they are shared', async function () {
    needTools(this, 'setpriv');
    if (process.getuid?.() !== 0) this.skip();
    chmodSync(root, 0o755);
    const daemon = await start({ command: 'run' });
    const as = { user: 65534, command: 'serve' } as const;
    const alone = await start(as);
    expect(alone.output).to.match(/info +registry\.tokens key=memory hint=/);
    expect(alone.output).to.not.match(/ (?:warn|error) /);
    expect(await pull(alone, await token(alone))).to.equal(200);
    expect(await pull(alone, await token(daemon))).to.equal(401);
    expect(await pull(daemon, await token(alone))).to.equal(401);

    const shared = join(root, 'token.key');
    copyFileSync(keys(), shared);
    chmodSync(shared, 0o644);
    const named = { yaml: yaml(`, tokenKey: ${shared}`) };
    const [one, other] = [await start({ ...as, ...named }), await start({ ...as, ...named })];
    expect(await pull(other, await token(one))).to.equal(200);
    expect(await pull(one, await token(daemon))).to.equal(200);

    // One that is named and cannot be read is a mistake, and no reason not to serve.
    chmodSync(shared, 0o600);
    const denied = await start({ ...as, ...named });
    expect(denied.output).to.match(/error +registry\.error what="cannot read the token keys"/);
    expect(await pull(denied, await token(denied))).to.equal(200);
  });

  it('are not issued without passwords: nothing is written', async () => {
    const daemon = await start({ yaml: `${QUICK}registry: {listen: "127.0.0.1:0"}\n` });
    expect((await ask(daemon.url, TAG)).status).to.equal(200);
    expect((await ask(daemon.url, '/v2/token')).status).to.equal(404);
    expect(existsSync(join(root, 'state', 'tokens'))).to.equal(false);
    expect(daemon.output).to.not.contain('registry.tokens');
  });
});
