/** The endpoint as a process: permissions, listen addresses, error handling, shutdown. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, readdirSync, readlinkSync, statSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { expect } from 'chai';
import { ask, basic, type Reply } from '../support/ask.js';
import { DaemonProcess, MAIN, QUICK } from '../support/daemon-process.js';
import { openTempDir, programForAll } from '../support/for-everybody.js';
import { layerBytes, makeLayout, sha256 } from '../support/make-image.js';
import { writeHtpasswd } from '../support/passwords.js';
import { resize } from '../support/published-file.js';
import { receipts } from '../support/service.js';
import { removeTempDirs } from '../support/temp-dir.js';
import { TestRegistry } from '../support/test-registry.js';
import { needRoot, needTools } from '../support/tools.js';
import { waitFor } from '../support/wait-for.js';

const LAYER = sha256(layerBytes('layer'));
const TAG = '/v2/team/app/manifests/1.0';

describe('dropdock serve', function () {
  this.timeout(60_000);
  let root: string;
  let daemon: DaemonProcess | undefined;
  let taken: Server | undefined;

  beforeEach(async () => {
    root = openTempDir();
    const registry = await TestRegistry.open(root);
    makeLayout(join(root, 'inbox', 'team', 'app'));
    await registry.take('team/app');
    await registry.close();
  });
  afterEach(async () => {
    await daemon?.stop('SIGKILL');
    taken?.close();
    daemon = taken = undefined;
    removeTempDirs();
  });

  const registryYaml = (text: string) => `${QUICK}registry: {${text}}\n`;
  const blob = () => join(root, 'published', 'web', 'team~app', 'blobs', LAYER);
  async function take(): Promise<number> {
    taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    return (taken.address() as { port: number }).port;
  }
  async function free(): Promise<void> {
    const closed = once(taken as Server, 'close');
    taken?.close();
    await closed;
    taken = undefined;
  }

  it('serves a tree that it cannot write to, as a user that owns none of it', async function () {
    needRoot(this);
    needTools(this, 'setpriv');
    const config = join(root, 'test.yaml');
    writeFileSync(config, registryYaml('listen: "127.0.0.1:0"'));
    chmodSync(config, 0o644);
    const before = statSync(join(root, 'published', 'web')).mtimeMs;
    const as = ['--reuid', '65534', '--regid', '65534', '--clear-groups'];
    const { node, main } = programForAll();
    const given = [...as, node, main, 'serve', '--root', root, '--config', config];
    const child = spawn('setpriv', given, { cwd: '/' });
    let output = '';
    child.stdout.on('data', (data) => {
      output += data;
    });
    child.stderr.on('data', (data) => {
      output += data;
    });
    await waitFor('it to listen', () => output.includes('registry.ready'));
    const status = statSync(`/proc/${child.pid}`);
    expect(status.uid).to.equal(65534);
    const url = /url=(\S+)/.exec(output)?.[1] ?? '';
    for (const path of [
      TAG,
      `/v2/team/app/blobs/${LAYER}`,
      '/v2/_catalog',
      '/v2/team/app/tags/list',
    ]) {
      expect((await ask(url, path)).status, path).to.equal(200);
    }
    const exited = once(child, 'exit');
    child.kill('SIGTERM');
    expect(await exited).to.deep.equal([0, null]);
    expect(statSync(join(root, 'published', 'web')).mtimeMs).to.equal(before);
    expect(readdirSync(join(root, 'state', 'locks', '.owners'))).to.deep.equal([]);
  });

  it('listens on the socket passed by systemd, and only if the socket is meant for it', async () => {
    const port = await take();
    const config = join(root, 'test.yaml');
    writeFileSync(config, registryYaml('listen: "127.0.0.1:0"'));
    const run = async (pid: string) => {
      const command = `LISTEN_FDS=1 LISTEN_PID=${pid} exec "$@"`;
      const given = [process.execPath, MAIN, 'serve', '--root', root, '--config', config];
      const handle = (taken as unknown as { _handle: { fd: number } })._handle.fd;
      const child = spawn('sh', ['-c', command, 'sh', ...given], {
        stdio: ['ignore', 'pipe', 'pipe', handle],
      });
      let output = '';
      child.stdout?.on('data', (data) => {
        output += data;
      });
      await waitFor('it to listen', () => output.includes('registry.ready'));
      return { child, url: /url=(\S+)/.exec(output)?.[1] };
    };
    const meant = await run('$$');
    expect(meant.url).to.equal(`http://127.0.0.1:${port}`);
    await free();
    expect((await ask(meant.url ?? '', TAG)).status).to.equal(200);
    const [code] = await endOf(meant.child);
    expect(code).to.equal(0);
    const unmeant = await take();
    const other = await run('1');
    expect(other.url).to.match(/^http/).and.not.to.contain(String(unmeant));
    await endOf(other.child);
  });

  it('listens on a Unix socket path, also after a killed process left its socket', async () => {
    const path = join(root, 'socket');
    const yaml = registryYaml(`listen: ${path}`);
    for (let time = 0; time < 2; time++) {
      daemon = await DaemonProcess.start(root, { yaml, command: 'serve' });
      expect((await ask(path, TAG)).status).to.equal(200);
      await daemon.stop('SIGKILL');
      expect(existsSync(path)).to.equal(true);
    }
    daemon = await DaemonProcess.start(root, { yaml, command: 'serve' });
    expect(await daemon.stop()).to.equal(0);
    expect(existsSync(path)).to.equal(false);
  });

  it('exits with code 3 when its address is in use', async () => {
    const config = join(root, 'test.yaml');
    writeFileSync(config, registryYaml(`listen: "127.0.0.1:${await take()}"`));
    const child = spawn(process.execPath, [MAIN, 'serve', '--root', root, '--config', config]);
    let said = '';
    child.stderr.on('data', (data) => {
      said += data;
    });
    const [code] = await once(child, 'close');
    expect(code).to.equal(3);
    expect(said).to.contain('EADDRINUSE').and.contain('another process uses this address');
  });

  it('does not stop `run` from publishing: it listens when the address is free', async () => {
    const port = await take();
    const yaml = registryYaml(`listen: "127.0.0.1:${port}"`);
    daemon = await DaemonProcess.start(root, { yaml: `${yaml}log: {level: debug}\n` });
    expect(daemon.output).to.contain('registry.failed').and.not.contain('registry.ready');
    makeLayout(join(root, 'inbox', 'other:1'), { layers: ['other'] });
    await waitFor('the publish', () =>
      receipts(root).some(({ repository }) => repository === 'other'),
    );
    // It is said once, however often it is tried.
    await waitFor('another try', () => daemon?.output.includes('debug registry.failed'));
    expect(daemon.output.match(/error registry\.failed/g)).to.have.length(1);
    await free();
    await waitFor('it to listen', () => daemon?.output.includes('registry.ready'));
    expect((await ask(`http://127.0.0.1:${port}`, '/v2/other/manifests/1')).status).to.equal(200);
  });

  for (const command of ['run', 'serve'] as const) {
    it(`finishes a running download after SIGTERM, then exits (${command})`, async () => {
      resize(blob(), 256 * 1024 * 1024);
      const yaml = `${QUICK}shutdown: {wait: 90s}\n`;
      daemon = await DaemonProcess.start(root, { command, yaml });
      const { port, hostname } = new URL(daemon.url);
      const socket = connect(Number(port), hostname);
      let bytes = 0;
      socket.on('data', (chunk) => {
        bytes += chunk.length;
      });
      socket.pause();
      socket.write(`GET /v2/team/app/blobs/${LAYER} HTTP/1.1\r\nHost: x\r\n\r\n`);
      const opened = `/proc/${daemon.child.pid}/fd`;
      await waitFor('the download', () =>
        readdirSync(opened).some((fd) => {
          try {
            return readlinkSync(join(opened, fd)).endsWith(LAYER);
          } catch {
            return false;
          }
        }),
      );
      const began = performance.now();
      const stopped = daemon.stop();
      await waitFor('no new connections', async () => {
        const outcome = await ask(daemon?.url ?? '', '/v2/').catch(() => 'refused');
        return outcome === 'refused';
      });
      socket.resume();
      expect(await stopped).to.equal(0);
      await waitFor('all of it', () => bytes > 256 * 1024 * 1024);
      // Nobody waited for the connection that was kept, however slow the machine is.
      expect(performance.now() - began).to.be.lessThan(60_000);
    }).timeout(120_000);
  }

  it('rereads passwords on SIGHUP', async () => {
    const passwords = join(root, 'htpasswd');
    writeHtpasswd(passwords, { alice: 'one' });
    const yaml = registryYaml(`listen: "127.0.0.1:0", htpasswd: ${passwords}, anonymous: false`);
    daemon = await DaemonProcess.start(root, { yaml, command: 'serve' });
    const asAlice = (): Promise<Reply> =>
      ask(daemon?.url ?? '', TAG, { headers: basic('alice', 'one') });
    expect((await asAlice()).status).to.equal(200);
    writeHtpasswd(passwords, { bob: 'two' });
    daemon.child.kill('SIGHUP');
    await waitFor('the log', () => daemon?.output.includes('registry.reloaded what=passwords'));
    expect((await asAlice()).status).to.equal(401);
    expect(daemon.output).to.contain('registry.denied user=alice');
  });
});

async function endOf(child: ReturnType<typeof spawn>): Promise<unknown[]> {
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  return await exited;
}
