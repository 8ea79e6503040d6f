/** SIGHUP: settings, log level, log file, passwords; and the effect of invalid settings. */
import {
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { ask, basic } from '../support/ask.js';
import { DaemonProcess, ownEnvironment, QUICK } from '../support/daemon-process.js';
import { makeLayout } from '../support/make-image.js';
import { writeHtpasswd } from '../support/passwords.js';
import { receipts } from '../support/service.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { waitFor } from '../support/wait-for.js';

const LISTEN = 'listen: "127.0.0.1:0"';

describe('a reload', function () {
  this.timeout(60_000);
  let root: string;
  let daemon: DaemonProcess | undefined;

  beforeEach(() => {
    root = tempDir();
  });
  afterEach(async () => {
    await daemon?.stop('SIGKILL');
    daemon = undefined;
    removeTempDirs();
  });

  /** @returns what the log says from then on, once it says `line` */
  async function reload(yaml: string | undefined, line: string): Promise<string> {
    const config = join(root, 'test.yaml');
    if (yaml === undefined) rmSync(config);
    else writeFileSync(config, yaml);
    const { length } = daemon?.output ?? '';
    daemon?.child.kill('SIGHUP');
    await waitFor(line, () => daemon?.output.slice(length).includes(line));
    return daemon?.output.slice(length) ?? '';
  }
  async function publish(name: string): Promise<void> {
    const count = existsSync(join(root, 'inbox', '.receipts')) ? receipts(root).length : 0;
    makeLayout(join(root, 'inbox', name));
    await waitFor('the receipt', () => receipts(root).length > count);
  }

  it('applies settings that may change, and names those that need a restart', async () => {
    daemon = await DaemonProcess.start(root, { yaml: `${QUICK}registry: {${LISTEN}}\n` });
    await publish('app:1');
    const passwords = join(root, 'htpasswd');
    writeHtpasswd(passwords, { alice: 'one' });
    expect((await ask(daemon.url, '/v2/app/tags/list')).status).to.equal(200);
    const yaml = [
      QUICK,
      'log: {level: debug}',
      'threads: {hash: 1}',
      `registry: {${LISTEN}, htpasswd: ${passwords}, anonymous: false}`,
      'repositories: {app: {immutableTags: true}}\n',
    ].join('\n');
    const said = await reload(yaml, 'settings.reloaded');
    expect(said).to.contain(
      'warn  settings.reloaded changed=registry.anonymous,registry.htpasswd,log.level,repositories restart=threads.hash',
    );
    await waitFor('nobody to be let in without a name', async () => {
      const { status } = await ask(daemon?.url ?? '', '/v2/app/tags/list');
      return status === 401;
    });
    const asAlice = await ask(daemon.url, '/v2/app/tags/list', { headers: basic('alice', 'one') });
    expect(asAlice.status).to.equal(200);
    expect(daemon.output).to.contain('debug registry.request');
    makeLayout(join(root, 'inbox', 'app:1'), { layers: ['other'] });
    await waitFor('the second receipt', () => receipts(root).length === 2);
    expect(receipts(root)[1]).to.include({ status: 'rejected', code: 'tag.immutable' });
  });

  it('changes the next publish', async () => {
    const yaml = (keep: number) =>
      `${QUICK}registry: {${LISTEN}}\nretention: {keep: ${keep}, grace: 0s}\n`;
    const snapshots = () => readdirSync(join(root, 'published', 'master', 'app')).length;
    daemon = await DaemonProcess.start(root, { yaml: yaml(2) });
    for (const tag of [1, 2, 3]) await publish(`app:${tag}`);
    await waitFor('two snapshots', () => snapshots() === 2);
    const said = await reload(yaml(1), 'settings.reloaded');
    expect(said).to.match(/info {2}settings\.reloaded changed=retention\.keep\n/);
    expect(snapshots()).to.equal(2);
    await publish('app:4');
    await waitFor('one snapshot', () => snapshots() === 1);
  });

  it('changes nothing when the settings are invalid, and reports the line', async () => {
    daemon = await DaemonProcess.start(root);
    const wrong = 'log:\n  level: debug\n  format: loud\n';
    const said = await reload(wrong, 'settings.refused');
    expect(said).to.match(
      /error settings\.refused code=settings\.invalid message=".*:3: log.format/,
    );
    await publish('app:1');
    await waitFor('the line', () => daemon?.output.includes('publish.done repo=app'));
    expect(daemon.output).not.to.contain(' debug ');
  });

  it('does not treat a missing file as an empty one', async () => {
    daemon = await DaemonProcess.start(root);
    expect(await reload(undefined, 'settings.refused')).to.contain('ENOENT');
    await publish('app:1');
  });

  it('continues in a new log file after logrotate renamed the old one', async () => {
    const log = join(root, 'dropdock.log');
    const text = (path: string) => (existsSync(path) ? readFileSync(path, 'utf8') : '');
    const yaml = `${QUICK}log: {file: ${log}}\n`;
    const ready = () => text(log).includes('daemon.ready');
    daemon = await DaemonProcess.start(root, { yaml, ready });
    await publish('app:1');
    await waitFor('a line', () => text(log).includes('publish.done'));
    renameSync(log, `${log}.1`);
    daemon.child.kill('SIGHUP');
    await waitFor('a new file', () => existsSync(log));
    await publish('app:2');
    await waitFor('a line', () => text(log).includes('publish.done'));
    expect(await daemon.stop()).to.equal(0);
    expect(text(log)).to.match(/info {2}daemon\.stopped\n$/);
    expect(text(`${log}.1`).match(/publish\.done/g)).to.have.length(1);
    expect(daemon.output).to.equal('');
  });

  it('is not needed for the daemon to survive a full log disk', async () => {
    const log = join(root, 'dropdock.log');
    symlinkSync('/dev/full', log);
    daemon = await DaemonProcess.start(root, { yaml: `${QUICK}log: {file: ${log}}\n` });
    await publish('app:1');
    await waitFor('the lines', () => daemon?.output.includes('publish.done'));
    expect(daemon.output).to.contain(`error log.failed path=${log} code=ENOSPC`);
    expect(daemon.output.match(/log\.failed/g)).to.have.length(1);
    expect(await daemon.stop()).to.equal(0);
  });
});

describe('log lines under journald', () => {
  it('have priorities and no timestamps', async () => {
    const root = tempDir();
    const output = join(root, 'output');
    const fd = openSync(output, 'a');
    const { dev, ino } = statSync(output);
    const env = { ...ownEnvironment(), JOURNAL_STREAM: `${dev}:${ino}` };
    const ready = () => readFileSync(output, 'utf8').includes('daemon.ready');
    const stdio = ['ignore', fd, fd] as const;
    const daemon = await DaemonProcess.start(root, { env, ready, stdio: [...stdio] });
    await daemon.stop();
    const lines = readFileSync(output, 'utf8').trimEnd().split('\n');
    expect(lines.at(-1)).to.equal('<6>info  daemon.stopped');
    for (const line of lines) expect(line).to.match(/^<6>info {2}[a-z]+\.[a-z]+( |$)/);
    removeTempDirs();
  });
});
