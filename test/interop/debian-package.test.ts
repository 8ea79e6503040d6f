/**
 * The Debian package on a real systemd, from installation to purge. It takes minutes, so it runs in CI
 * and when DROPDOCK_TEST_PACKAGE is set (npm run torture -- --only package): to 1, or to a file that
 * caches the minimal Debian for later runs.
 */
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { Machine, packNode } from '../support/machine.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { makeRealImage, needTools, tool } from '../support/tools.js';
import { waitFor } from '../support/wait-for.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const { DROPDOCK_TEST_PACKAGE: WANTED = process.env.CI && '1' } = process.env;
const PULLS = '127.0.0.1:5000';
const SETTINGS = 'etc/dropdock/dropdock.yaml';
const LIB = '/var/lib/dropdock';

describe('the Debian package', function () {
  this.timeout(600_000);
  let root: string;
  let machine: Machine;
  let layout: string;
  let started = 0;

  before(async function () {
    if (!WANTED) {
      console.info('      skipped: DROPDOCK_TEST_PACKAGE is not set (npm run torture)');
      this.skip();
    }
    needTools(this, 'mmdebstrap', 'systemd-nspawn', 'skopeo', 'umoci', 'curl', 'lintian');
    root = tempDir();
    layout = makeRealImage(root);
    await tool('tar', '-C', layout, '-cf', join(root, 'app:1.0.tar'), '.');
    const build = join(ROOT, 'systemd', 'debian', 'build');
    // Other tests run what lies in dist/ at this moment.
    await tool(build, '--version', '0.1.0', '--output', root, '--built');
    await makeNext();
    const node = await packNode(root);
    machine = await Machine.boot(
      join(root, 'machine'),
      WANTED === '1' ? join(root, 'base.tar') : WANTED,
    );
    copyFileSync(node, machine.path('root/nodejs.deb'));
    for (const version of ['0.1.0', '0.1.1']) {
      copyFileSync(deb(version), machine.path(`root/dropdock_${version}.deb`));
    }
    copyFileSync(join(root, 'app:1.0.tar'), machine.path('root/app.tar'));
  });
  after(async () => {
    await machine?.stop();
    removeTempDirs();
  });

  /** The same as 0.1.1. */
  async function makeNext(): Promise<void> {
    const next = join(root, 'next');
    await tool('dpkg-deb', '-R', deb('0.1.0'), next);
    for (const file of ['DEBIAN/control', 'usr/lib/dropdock/package.json']) {
      await tool('sed', '-i', 's/0\\.1\\.0/0.1.1/', join(next, file));
    }
    await tool('dpkg-deb', '--root-owner-group', '-b', next, join(root, 'dropdock_0.1.1_.deb'));
  }
  const deb = (version: string) =>
    join(root, readdirSync(root).find((name) => name.startsWith(`dropdock_${version}_`)) ?? '');
  const install = (...files: string[]) => machine.run('apt-get', 'install', '-qy', ...files);
  const pull = (name: string, to: string) =>
    machine.beside(
      ...['skopeo', 'copy', '--src-tls-verify=false'],
      ...[`docker://${PULLS}/${name}`, `oci:${join(root, to)}`],
    );
  const says = (unit: string, text: string | RegExp) =>
    waitFor(String(text), async () => (await machine.journal(unit)).match(text) !== null, 60_000);
  const settings = (text: string) => writeFileSync(machine.path(SETTINGS), text);
  const isActive = async (unit: string) =>
    (await machine.property(unit, 'ActiveState')) === 'active';

  it('has no lintian findings', async () => {
    expect(
      await tool('lintian', '--allow-root', '--fail-on', 'error,warning', deb('0.1.0')),
    ).to.equal('');
  });

  it('takes under two minutes from installation to the first pull', async () => {
    started = performance.now();
    await install('/root/nodejs.deb', '/root/dropdock_0.1.0.deb');
    await machine.run('cp', '/root/app.tar', `${LIB}/inbox/app:1.0.tar`);
    await says('dropdock', /publish\.done .*repo=app/);
    await pull('app:1.0', 'first');
    const tookMs = performance.now() - started;
    console.info(`      installed, dropped and pulled in ${(tookMs / 1000).toFixed(1)} s`);
    expect(tookMs).to.be.below(120_000);
    const config = await tool('skopeo', 'inspect', '--raw', `oci:${join(root, 'first')}`);
    expect(config).to.equal(await tool('skopeo', 'inspect', '--raw', `oci:${layout}:1.0`));
  });

  it('runs as its own user; its group may drop, all users may read', async () => {
    const modes = await machine.run('stat', '-c', '%a %U %G', `${LIB}/inbox`, `${LIB}/published`);
    expect(modes).to.equal('2775 dropdock dropdock\n755 dropdock dropdock\n');
    const hidden = await machine.run('find', '-L', `${LIB}/published/web`, '!', '-perm', '-o=r');
    expect(hidden).to.equal('');
    expect(await machine.property('dropdock', 'User')).to.equal('dropdock');
    expect(await machine.property('dropdock', 'StatusText')).to.contain(`Pulls at http://${PULLS}`);
  });

  it('reports what to do about a drop that only root may claim, and then claims it', async () => {
    const inbox = `${LIB}/inbox`;
    await tool('cp', '-r', layout, machine.path('root/layout'));
    await machine.run('sh', '-c', `umask 077; cp -r /root/layout ${inbox}/closed`);
    await says(
      'dropdock',
      /drop\.unreadable drop=closed reason="cannot read closed: permission denied \(user 0, .*. Run: chmod -R g\+rwX/,
    );
    await machine.run('chmod', '-R', 'g+rwX', `${inbox}/closed`);
    await says('dropdock', /publish\.done repo=closed/);
    // "DROPS OF OTHERS" in the manual: with this right nothing need be done.
    const right = [
      '[Service]',
      ...['AmbientCapabilities=', 'CapabilityBoundingSet='].map(
        (name) => `${name}CAP_DAC_OVERRIDE`,
      ),
    ];
    const dropIn = machine.path('etc/systemd/system/dropdock.service.d');
    mkdirSync(dropIn, { recursive: true });
    writeFileSync(join(dropIn, 'others.conf'), `${right.join('\n')}\n`);
    await machine.run('systemctl', 'daemon-reload');
    await machine.run('systemctl', 'restart', 'dropdock');
    await machine.run('sh', '-c', `umask 077; cp -r /root/layout ${inbox}/others`);
    await says('dropdock', /publish\.done repo=others/);
    rmSync(join(dropIn, 'others.conf'));
    await machine.run('systemctl', 'daemon-reload');
    await machine.run('systemctl', 'restart', 'dropdock');
  });

  it('says that it may not use port 443, and uses it with the drop-in of the package', async () => {
    settings('registry: {listen: ":443"}\n');
    await machine.run('systemctl', 'restart', 'dropdock');
    const line = () => machine.property('dropdock', 'StatusText');
    expect(await line()).to.contain('NOT LISTENING at :443');
    await waitFor('the status', async () =>
      (await machine.run('dropdock', 'status')).includes('CapabilityBoundingSet=CAP_NET_BIND'),
    );
    const name = 'ports-below-1024.conf';
    const dropIn = `/etc/systemd/system/dropdock.service.d/${name}`;
    const shipped = `/usr/share/doc/dropdock/examples/systemd/${name}`;
    await machine.run('install', '-D', '-m', '644', shipped, dropIn);
    await machine.run('systemctl', 'daemon-reload');
    await machine.run('systemctl', 'restart', 'dropdock');
    expect(await line()).to.match(/^Pulls at http:\/\/\S+:443;/);
    await machine.run('rm', dropIn);
    settings('');
    await machine.run('systemctl', 'daemon-reload');
    await machine.run('systemctl', 'restart', 'dropdock');
  });

  it('lets root run commands: the files they create belong to the daemon', async () => {
    await machine.run('sh', '-c', 'dropdock publish - --as by-root:1 </root/app.tar');
    const denied = await machine.try('dropdock', 'publish', '/root/app.tar', '--as', 'by-root:2');
    expect(denied).to.contain('access.denied');
    await machine.run('cp', '/root/app.tar', `${LIB}/inbox/by-root:3.tar`);
    await says('dropdock', /publish\.done repo=by-root drop=by-root:3/);
    const strange = ['find', `${LIB}/state`, `${LIB}/published`, '!', '-user', 'dropdock'];
    expect(await machine.run(...strange)).to.equal('');
  });

  it('is hardened according to systemd-analyze security', async () => {
    const scores = await Promise.all(
      ['dropdock', 'dropdock-registry', 'dropdock-verify'].map(async (unit) => {
        const said = await machine.run(
          'systemd-analyze',
          'security',
          '--no-pager',
          `${unit}.service`,
        );
        return Number(/exposure level for \S+: (\d+\.\d+)/.exec(said)?.[1]);
      }),
    );
    console.info(`      exposure levels: ${scores.join(', ')}`);
    for (const score of scores) expect(score).to.be.at.most(1.5);
  });

  it('writes its journal with priorities', async () => {
    const line = /^info {2}publish\.done repo=app drop=app:1\.0/m;
    expect(await machine.journal('dropdock', '-p', 'info')).to.match(line);
    expect(await machine.journal('dropdock', '-p', 'notice')).not.to.match(line);
  });

  it('rereads its settings on reload, and keeps the previous ones when they are invalid', async () => {
    settings('log: {level: debug, file: /var/log/dropdock/dropdock.log}\n');
    await machine.run('systemctl', 'reload', 'dropdock');
    await says('dropdock', 'settings.reloaded changed=log.level restart=log.file');
    settings('log: {level: loud}\n');
    await machine.run('systemctl', 'reload', 'dropdock');
    await says('dropdock', 'settings.refused');
    await waitFor('the status', async () =>
      (await machine.property('dropdock', 'StatusText')).startsWith('Invalid settings, '),
    );
    expect(await isActive('dropdock')).to.equal(true);
  });

  it('writes to a log file that logrotate may move', async () => {
    settings('log: {file: /var/log/dropdock/dropdock.log}\n');
    await machine.run('systemctl', 'restart', 'dropdock');
    const log = machine.path('var/log/dropdock/dropdock.log');
    await waitFor('the log file', () => existsSync(log) && statSync(log).size > 0);
    await machine.run('logrotate', '-f', '/etc/logrotate.d/dropdock');
    await waitFor('a new log file', () => existsSync(`${log}.1`) && statSync(log).size > 0);
    settings('{}\n');
    await machine.run('systemctl', 'restart', 'dropdock');
  });

  it('completes a publish during which it was killed and restarted', async () => {
    const big = machine.path('root/big');
    await tool('cp', '-r', layout, big);
    await tool('sh', '-c', `head -c 400M /dev/urandom >${join(root, 'noise')}`);
    await tool('umoci', 'raw', 'add-layer', '--image', `${big}:1.0`, await tarOf('noise'));
    await machine.run('sh', '-c', `tar -C /root/big -cf ${LIB}/inbox/.big.tar .`);
    const before = await machine.journal('dropdock');
    await machine.run('mv', `${LIB}/inbox/.big.tar`, `${LIB}/inbox/big:1.tar`);
    await says('dropdock', /publish\.started repo=big/);
    await machine.run('systemctl', 'kill', '--kill-who=main', '-s', 'KILL', 'dropdock');
    await says('dropdock', /publish\.(done|unchanged) repo=big/);
    const after = (await machine.journal('dropdock')).slice(before.length);
    // It was in the middle: the end comes from the process after.
    expect(after).to.match(/publish\.started repo=big.*daemon\.ready.*publish\.\w+ repo=big/s);
    await pull('big:1', 'big');
  });

  const tarOf = async (name: string) => {
    await tool('tar', '-C', root, '-cf', join(root, `${name}.tar`), name);
    return join(root, `${name}.tar`);
  };

  it('is restarted by the watchdog when it hangs', async () => {
    const dropIn = machine.path('etc/systemd/system/dropdock.service.d');
    mkdirSync(dropIn, { recursive: true });
    writeFileSync(join(dropIn, 'quick.conf'), '[Service]\nWatchdogSec=6\n');
    await machine.run('systemctl', 'daemon-reload');
    await machine.run('systemctl', 'restart', 'dropdock');
    const pid = await machine.property('dropdock', 'MainPID');
    const stamp = () => machine.property('dropdock', 'WatchdogTimestampMonotonic');
    const first = await stamp();
    await waitFor('signs of life', async () => (await stamp()) !== first, 30_000);
    expect(await machine.property('dropdock', 'MainPID')).to.equal(pid);
    await machine.run('sh', '-c', `kill -STOP ${pid}`);
    await waitFor(
      'another process',
      async () => (await machine.property('dropdock', 'MainPID')) !== pid && isActive('dropdock'),
      60_000,
    );
    expect(await machine.journal('dropdock')).to.match(/Watchdog timeout/);
    await pull('app:1.0', 'again');
  });

  it('verifies the published tree with its timer', async () => {
    await machine.run('systemctl', 'start', 'dropdock-verify.service');
    expect(await machine.journal('dropdock-verify')).to.match(/files read, 0 problems found/);
    await machine.run('systemctl', 'enable', '--now', 'dropdock-verify.timer');
  });

  it('finishes a running pull, and keeps all data, during an upgrade', async () => {
    const [digest] = (
      await machine.run('sh', '-c', `cd ${LIB}/published/web/big/blobs; ls -S`)
    ).split('\n');
    const url = `http://${PULLS}/v2/big/blobs/${digest}`;
    const given = ['-sS', '--fail', '--limit-rate', '60M', '-o', join(root, 'blob'), url];
    const slow = machine.beside('curl', ...given);
    await waitFor('some of it', () => existsSync(join(root, 'blob')));
    await install('/root/dropdock_0.1.1.deb');
    await slow;
    expect(`sha256:${(await tool('sha256sum', join(root, 'blob'))).split(' ')[0]}`).to.equal(
      digest,
    );
    expect(await machine.run('dropdock', '--version')).to.equal('0.1.1\n');
    await pull('app:1.0', 'upgraded');
  });

  it('refuses no connection while its separate endpoint restarts', async () => {
    settings('registry: {listen: null}\n');
    await machine.run('systemctl', 'restart', 'dropdock');
    await machine.run('systemctl', 'enable', '--now', 'dropdock-registry.socket');
    let isExpired = false;
    let count = 0;
    const asking = (async () => {
      for (; !isExpired; count++) await machine.beside('curl', '-sSf', `http://${PULLS}/v2/`);
    })();
    asking.catch(() => {});
    for (let round = 0; round < 3; round++) {
      const reached = count + 3;
      await waitFor('answers', () => count >= reached, 60_000);
      await machine.run('systemctl', 'restart', 'dropdock-registry.service');
    }
    isExpired = true;
    await asking;
    await pull('app:1.0', 'from-serve');
    const user = await machine.property('dropdock-registry', 'DynamicUser');
    expect(user).to.equal('yes');
    expect(await machine.journal('dropdock-registry')).not.to.contain('error');
  });

  it('lists data at other configured paths when it is purged', async () => {
    settings('paths: {inbox: /srv/inbox}\n');
    mkdirSync(machine.path('srv/inbox'), { recursive: true });
    const said = await machine.run('apt-get', 'purge', '-qy', 'dropdock');
    expect(said).to.contain('/srv/inbox  named in the settings');
    expect(existsSync(machine.path('srv/inbox'))).to.equal(true);
    await install('/root/dropdock_0.1.1.deb');
  });

  it('keeps images when it is purged, and prints their path; without images it leaves nothing', async () => {
    const said = await machine.run('apt-get', 'purge', '-qy', 'dropdock');
    expect(said).to.contain(`${LIB}/published  the published images`);
    expect(existsSync(machine.path(`${LIB}/published/web/app`))).to.equal(true);
    expect(existsSync(machine.path('etc/dropdock'))).to.equal(false);
    expect(existsSync(machine.path('var/log/dropdock'))).to.equal(false);
    await install('/root/dropdock_0.1.1.deb');
    await pull('app:1.0', 'after-purge');
    await machine.run('systemctl', 'stop', 'dropdock');
    await machine.run(
      'sh',
      '-c',
      `rm -rf ${LIB}/published/web/* ${LIB}/inbox/* ${LIB}/inbox/.receipts`,
    );
    await machine.run('apt-get', 'purge', '-qy', 'dropdock');
    expect(existsSync(machine.path(LIB))).to.equal(false);
    expect(await machine.try('getent', 'passwd', 'dropdock')).not.to.contain('/var/lib/dropdock');
  });
});
