/** What a newcomer sees and pastes: the first screen, the head of the status, the lines to undo a change. */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { expect } from 'chai';
import { ask } from '../support/ask.js';
import { DaemonProcess, dropdock, ownEnvironment, QUICK } from '../support/daemon-process.js';
import { makeLayout } from '../support/make-image.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { waitFor } from '../support/wait-for.js';

describe('a newcomer', function () {
  this.timeout(120_000);
  let root: string;
  let daemon: DaemonProcess | undefined;
  let busy: Server | undefined;
  beforeEach(() => {
    // What is printed must be quoted.
    root = join(tempDir(), "my tree's");
    mkdirSync(root);
  });
  afterEach(async () => {
    await daemon?.stop();
    daemon = undefined;
    busy?.close();
    busy = undefined;
    removeTempDirs();
  });

  /** Runs a line that was printed. */
  const paste = (line: string) =>
    execFileSync('sh', ['-c', line], { env: ownEnvironment() }).toString();
  const printed = (text: string, pattern: RegExp) => pattern.exec(text)?.[1] ?? '';
  /** @returns a port that another process uses */
  const take = async () => {
    busy = createServer();
    busy.listen(0, '127.0.0.1');
    await once(busy, 'listening');
    return (busy.address() as AddressInfo).port;
  };
  const start = (registry: string) =>
    DaemonProcess.start(root, {
      yaml: `${QUICK}registry: {${registry}}\n`,
      flags: ['--welcome'],
    });
  const screen = async () => {
    await waitFor('the first screen', () => daemon?.output.includes('Your own images'));
    return daemon?.output ?? '';
  };

  it('publishes the image that comes with dropdock and pulls it, by pasting what is printed', async () => {
    daemon = await start('listen: "127.0.0.1:0"');
    const text = await screen();
    paste(printed(text, /^ +(cp -r .*)$/m));
    const manifest = printed(text, /curl http:\/\/[^/]+(\/\S+)$/m);
    const url = printed(text, /published: (http\S+)\/$/m);
    const reply = await waitFor('the image', async () => {
      const got = await ask(url, manifest);
      return got.status === 200 ? got : undefined;
    });
    expect(reply.headers['content-type']).to.equal('application/vnd.oci.image.manifest.v1+json');
    expect((await ask(url, '/')).body.toString()).to.contain('hello');
    expect(paste(printed(text, /^ +(node .* status .*)$/m))).to.match(/^hello /m);
    expect(paste(printed(text, /^ +(cat .*)$/m))).to.contain('"status": "published"');
  });

  it('sees in the screen and the status that the port is taken, and when it is free', async () => {
    const port = await take();
    daemon = await start(`listen: "127.0.0.1:${port}"`);
    const text = await screen();
    expect(text).to.contain(`CANNOT BE PULLED: dropdock does not listen at 127.0.0.1:${port}`);
    expect(text).to.not.contain('docker pull');
    const status = async () => (await dropdock('status', '--root', root)).stdout;
    const seen = await waitFor('the status', async () => {
      const now = await status();
      return now.includes('NOT LISTENING') ? now : undefined;
    });
    expect(seen.split('\n').slice(0, 3)).to.deep.equal([
      `tree      ${root}`,
      `daemon    version 0.1.0, running (pid ${daemon.child.pid})`,
      `endpoint  NOT LISTENING at 127.0.0.1:${port}: another process uses this address`,
    ]);
    const { stdout } = await dropdock('status', '--json', '--root', root);
    const { tree, daemons } = JSON.parse(stdout);
    expect(tree).to.include({ inbox: join(root, 'inbox'), exists: true });
    expect(daemons[0]).to.include({ version: '0.1.0' });
    expect(daemons[0].endpoint.problems[0]).to.include({ code: 'EADDRINUSE' });
    busy?.close();
    await waitFor('it to listen', async () =>
      (await status()).includes(`endpoint  http://127.0.0.1:${port}`),
    );
  });

  it('undoes a change by pasting the line that is printed', async () => {
    makeLayout(join(root, 'made'), { layers: ['a'] });
    const config = join(root, 'my settings.yaml');
    writeFileSync(config, QUICK);
    const given = ['--root', root, '--config', config];
    await dropdock('publish', join(root, 'made'), '--as', 'app:1', ...given);
    const { stdout } = await dropdock('untag', 'app', '1', ...given);
    expect(stdout).to.contain(' -> (removed)');
    expect(paste(printed(stdout, /^Undo: (.*)$/m))).to.contain('app is restored');
    const again = (await dropdock('remove', 'app', '--target', 'local', ...given)).stdout;
    const undo = printed(again, /^Undo: (.*)$/m);
    expect(undo).to.contain('--target local');
    const removed = (await dropdock('status', 'app', ...given)).stdout;
    expect(paste(printed(removed, /to restore it: (.*)$/m))).to.contain('app is restored');
  });

  it('is told which tree was searched', async () => {
    const nowhere = join(root, 'nowhere');
    const status = await dropdock('status', '--root', nowhere);
    expect(status.stdout).to.match(/^tree .*nowhere\n +Nothing is there yet\./);
    expect(paste(`echo ${printed(status.stdout, /start it with: (.*)$/m)}`)).to.contain(nowhere);
    const { code, stderr } = await dropdock('history', 'app', '--root', nowhere);
    expect(code).to.equal(2);
    expect(stderr).to.contain(`There is no repository "app" in ${nowhere}/published.`);
    expect(existsSync(nowhere)).to.equal(false);
  });
});
