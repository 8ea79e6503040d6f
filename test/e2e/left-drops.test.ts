import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { DaemonProcess, dropdock, QUICK } from '../support/daemon-process.js';
import { openTempDir } from '../support/for-everybody.js';
import { makeLayout } from '../support/make-image.js';
import { readRepository } from '../support/outside-reader.js';
import { receipts } from '../support/service.js';
import { removeTempDirs } from '../support/temp-dir.js';
import { waitFor } from '../support/wait-for.js';

const DAEMON = 65_534;
const OTHER = 12_345;

/** As `cp -r` of another user leaves it: readable by all, writable by its owner. */
function giveTo(uid: number, path: string): void {
  execFileSync('chown', ['-R', `${uid}:${uid}`, path]);
  execFileSync('chmod', ['-R', 'u=rwX,go=rX', path]);
}

describe('drops of other users', function () {
  this.timeout(60_000);
  let root: string;
  let daemon: DaemonProcess;
  const yaml = `${QUICK}inbox: {scan: 200ms}\n`;

  before(function () {
    if (process.getuid?.() !== 0) this.skip();
  });

  beforeEach(async () => {
    root = openTempDir();
    for (const name of ['inbox', 'published', 'state']) {
      mkdirSync(join(root, name));
      chownSync(join(root, name), DAEMON, DAEMON);
    }
    chmodSync(join(root, 'inbox'), 0o777);
    chownSync(root, DAEMON, DAEMON);
    daemon = await DaemonProcess.start(root, { yaml, user: DAEMON });
  });

  afterEach(async () => {
    await daemon?.stop();
    removeTempDirs();
  });

  const drop = (layer: string) => {
    const [made, place] = [join(root, 'made'), join(root, 'inbox/app:1')];
    rmSync(made, { recursive: true, force: true });
    rmSync(place, { recursive: true, force: true });
    const { digest } = makeLayout(made, { layers: [layer] }) as { digest: string };
    giveTo(OTHER, made);
    execFileSync('mv', [made, place]);
    return digest;
  };
  const tag = () => readRepository(join(root, 'published'), 'app')?.tags['1'];
  const shows = async (text: RegExp) => {
    let last = '';
    const found = async () => {
      last = (await dropdock('status', '--root', root)).stdout;
      return text.test(last);
    };
    await waitFor('the status', found, 30_000).catch((error) => {
      throw new Error(`${(error as Error).message}; it shows: ${last}\n${daemon.output}`);
    });
  };
  const count = (text: string) => daemon.output.split(text).length - 1;

  it('are published once from a copy, stay, are reported, and are published again when they change', async () => {
    drop('one');
    await waitFor('the receipt', () => receipts(root).length === 1);
    await waitFor('the warning', () => count('drop.left') === 1);
    expect(receipts(root)[0]).to.include({ status: 'published', by: String(OTHER) });
    expect(receipts(root)[0]).to.have.property('left').that.contains('chmod -R g+rwX');
    const first = tag();
    await shows(/app:1 +left .*chmod -R g\+rwX/);
    await daemon.stop();
    daemon = await DaemonProcess.start(root, { yaml, user: DAEMON });
    await waitFor('the warning after a restart', () => count('drop.left') === 1);
    expect(receipts(root), 'it is not published again').to.have.length(1);
    drop('two');
    await waitFor('the next receipt', () => receipts(root).length === 2);
    expect(tag()).to.not.equal(first);
    expect(existsSync(join(root, 'inbox/app:1/index.json'))).to.equal(true);
  });

  it('are removed once the command that is shown was run', async () => {
    drop('one');
    await waitFor('the receipt', () => receipts(root).length === 1);
    await waitFor('the warning', () => count('drop.left') === 1);
    const command = /Run: (chmod [^"\n]+)/.exec(daemon.output)?.[1] ?? '';
    // The group is the daemon's on an installed system (the inbox has the setgid bit).
    execFileSync('chgrp', ['-R', String(DAEMON), join(root, 'inbox/app:1')]);
    execFileSync('sh', ['-c', command]);
    await waitFor('the removal', () => !existsSync(join(root, 'inbox/app:1')));
    await waitFor(
      'the last receipt',
      () => !receipts(root).at(-1)?.left && receipts(root).length > 1,
    );
    const last = receipts(root).at(-1);
    expect(last).to.include({ status: 'unchanged' }).and.not.to.have.property('left');
  });

  it('are reported at warn if they cannot be read, and are published after the command that is shown', async () => {
    const made = join(root, 'made');
    makeLayout(made, { layers: ['secret'] });
    giveTo(OTHER, made);
    execFileSync('chgrp', ['-R', String(DAEMON), made]);
    chmodSync(join(made, 'index.json'), 0o600);
    execFileSync('mv', [made, join(root, 'inbox/app:1')]);
    await waitFor('the warning', () => /warn +drop\.unreadable/.test(daemon.output));
    await shows(/app:1 +unreadable /);
    const command = /Run: (chmod [^"\n(]+)/.exec(daemon.output)?.[1] ?? '';
    execFileSync('sh', ['-c', command]);
    await waitFor('the receipt', () => receipts(root).length === 1);
    expect(receipts(root)[0]).to.include({ status: 'published' });
  });
});

describe('the reason why a drop waits', function () {
  this.timeout(60_000);
  let daemon: DaemonProcess | undefined;

  afterEach(async () => {
    await daemon?.stop();
    removeTempDirs();
  });

  it('is how far it has come while it grows, and then what it waits for', async () => {
    const root = openTempDir();
    const drop = join(root, 'inbox/app:1');
    mkdirSync(join(root, 'inbox'));
    const yaml = 'settle: {quiet: 1s, timeout: 60s}\ninbox: {scan: 100ms}\n';
    daemon = await DaemonProcess.start(root, { yaml });
    const says = async (text: RegExp) =>
      text.test((await dropdock('status', '--root', root)).stdout);
    const large = join(drop, 'blobs/sha256/large');
    /** Grows until the status shows it, however slow that is here. */
    const grow = async (what: string) => {
      const writer = setInterval(() => appendFileSync(large, Buffer.alloc(1_100_000)), 100);
      try {
        await waitFor(what, () => says(/app:1 +waiting .* still growing, [\d.]+ MiB/), 30_000);
      } finally {
        clearInterval(writer);
      }
    };
    makeLayout(drop, { layers: ['one'] });
    const index = readFileSync(join(drop, 'index.json'), 'utf8');
    writeFileSync(join(drop, 'index.json'), index.slice(0, -5));
    await grow('the size');
    await waitFor('the index', () => says(/index\.json is not valid JSON yet/), 30_000);
    await grow('the size again');
    await waitFor('the index again', () => says(/index\.json is not valid JSON yet/), 30_000);
    const logged = daemon.output.split('reason="index.json is not valid JSON yet"').length - 1;
    expect(logged, 'logged once').to.equal(1);
    writeFileSync(join(drop, 'index.json'), index);
    await waitFor('the receipt', () => receipts(root).length === 1, 30_000);
  });
});

describe('an inbox on a read-only filesystem', function () {
  this.timeout(60_000);
  let root: string;
  let daemon: DaemonProcess | undefined;
  const inbox = () => join(root, 'inbox');

  before(function () {
    try {
      root = openTempDir();
      mkdirSync(inbox());
      execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', inbox()], { stdio: 'ignore' });
    } catch {
      this.skip();
    }
  });

  after(async () => {
    await daemon?.stop();
    execFileSync('sh', ['-c', 'umount "$1" || true', 'sh', inbox()], { stdio: 'ignore' });
    removeTempDirs();
  });

  it('is published, and its receipts are in state', async () => {
    makeLayout(join(inbox(), 'app:1'), { layers: ['one'] });
    execFileSync('mount', ['-o', 'remount,ro', inbox()]);
    daemon = await DaemonProcess.start(root, { yaml: `${QUICK}inbox: {scan: 200ms}\n` });
    const own = () => join(root, 'state/inbox', readdirSync(join(root, 'state/inbox'))[0] ?? '');
    const named = () =>
      readdirSync(join(own(), '.receipts')).filter((each) => each.endsWith('.json'));
    await waitFor('the receipt', () => named().length === 1);
    const [name = ''] = named();
    const receipt = JSON.parse(readFileSync(join(own(), '.receipts', name), 'utf8')) as object;
    expect(receipt).to.include({
      status: 'published',
      left: 'it is on a read-only filesystem; delete it when you no longer need it',
    });
    expect(readRepository(join(root, 'published'), 'app')?.tags).to.have.keys('1');
    await waitFor('the warning', () => /warn +drop\.left/.test(daemon?.output ?? ''));
    await waitFor('the status', async () => {
      const { stdout } = await dropdock('status', '--root', root);
      return /app:1 +left /.test(stdout);
    });
  });
});
