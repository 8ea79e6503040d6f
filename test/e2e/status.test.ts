/** `dropdock status`: the state of a running daemon, read from another process. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { toInboxReport } from '#src/cli/status.js';
import { type HostStatus, type Status, showStatus } from '#src/cli/status-text.js';
import type { Timestamp } from '#src/repository/timestamp.js';
import { DaemonProcess, dropdock, MAIN } from '../support/daemon-process.js';
import { blobPath, makeLayout } from '../support/make-image.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { waitFor } from '../support/wait-for.js';

const NOTHING: Status = {
  version: 1,
  repositories: [],
  strangers: [],
  tree: { inbox: '/x/inbox', published: '/x/published', state: '/x/state', exists: true },
  daemons: [],
  inbox: [],
  waiting: 0,
  rejected: [],
  rejectedTotal: 0,
};
const HOUR_MS = 3_600_000;

describe('status', function () {
  this.timeout(60_000);
  let root: string;
  let daemon: DaemonProcess | undefined;
  beforeEach(() => {
    root = tempDir();
    mkdirSync(join(root, 'inbox'), { recursive: true });
  });
  afterEach(async () => {
    await daemon?.stop();
    daemon = undefined;
    removeTempDirs();
  });

  const status = async (...given: string[]): Promise<Status & HostStatus> =>
    JSON.parse((await dropdock('status', '--json', '--root', root, ...given)).stdout);
  const drop = (name: string, ...layers: string[]) =>
    makeLayout(join(root, 'inbox', name), { layers });

  it('shows why a drop waits, what was rejected, and that a daemon is running', async () => {
    daemon = await DaemonProcess.start(root, { yaml: 'settle: {quiet: 50ms, timeout: 10m}\n' });
    drop('good:1', 'one');
    const { digest } = drop('thin:1', 'two');
    rmSync(blobPath(join(root, 'inbox/thin:1'), digest));
    writeFileSync(join(root, 'inbox/Wrong NAME.tar'), Buffer.alloc(10_240));
    const seen = await waitFor('all three', async () => {
      const now = await status();
      const isThere = now.repositories.length === 1 && now.rejected.length === 1;
      // Before that, the reason is that the drop still grows.
      const isKnown = now.inbox.some(({ reason }) => reason?.includes(digest.slice(7, 19)));
      return isThere && isKnown ? now : undefined;
    });
    expect(seen.daemons.map(({ pid }) => pid)).to.deep.equal([daemon.child.pid]);
    expect(seen.repositories[0]).to.include({ repository: 'good', removed: false });
    const [thin] = seen.inbox.filter(({ drop: name }) => name === 'thin:1');
    expect(thin).to.include({ state: 'waiting' });
    expect(thin?.reason).to.contain(digest.slice(7, 19));
    expect(seen.rejected[0]).to.include({ code: 'name.invalid' });
    const { stdout } = await dropdock('status', '--root', root);
    expect(stdout).to.match(/thin:1 +waiting +\d+s +.*sha256/);
    expect(stdout).to.match(/Wrong NAME.* ago +name\.invalid/);
    expect(stdout).to.not.contain('No daemon');
    await daemon.stop();
    expect(readdirSync(join(root, 'state/boards'))).to.deep.equal([]);
    const after = await dropdock('status', '--root', root);
    expect(after.stdout).to.contain('No daemon is running on this tree');
  });

  it('ignores the status of a killed daemon', async () => {
    daemon = await DaemonProcess.start(root);
    await waitFor('its board', async () => (await status()).daemons.length === 1);
    await daemon.stop('SIGKILL');
    expect((await status()).daemons).to.deep.equal([]);
    expect(readdirSync(join(root, 'state/boards'))).to.have.length(1);
    daemon = await DaemonProcess.start(root);
    await waitFor('one board', () => readdirSync(join(root, 'state/boards')).length === 1);
  });

  it('counts content of several repositories as shared, and of one as its own', async () => {
    for (const [name, layer] of [
      ['a', 'only a'],
      ['b', 'only b'],
    ] as const) {
      drop(name, 'the same in both', layer);
      const path = join(root, 'inbox', name);
      await dropdock('publish', path, '--as', `${name}:1`, '--root', root);
      rmSync(path, { recursive: true });
    }
    const { repositories } = await status();
    const [a, b] = repositories;
    expect(a?.sharedBytes).to.equal(b?.sharedBytes);
    expect(a?.sharedBytes).to.be.greaterThan(0);
    expect((a?.sharedBytes ?? 0) + (a?.ownBytes ?? 0)).to.equal(a?.bytes);
    // Asked for alone it is the same.
    expect((await status('a')).repositories).to.deep.equal([a]);
  });

  it('--watch runs until it is interrupted', async () => {
    const child = spawn(process.execPath, [MAIN, 'status', '--watch', '--root', root]);
    let text = '';
    child.stdout.on('data', (data) => {
      text += data;
    });
    const times = () => text.split('Nothing is published yet').length - 1;
    await waitFor('a second look', () => times() > 1);
    child.kill('SIGINT');
    await once(child, 'exit');
    expect(text).to.not.contain('\x1b');
  });

  it('--watch ends when its reader has ended', async () => {
    const child = spawn(process.execPath, [MAIN, 'status', '--watch', '--root', root]);
    await once(child.stdout, 'data');
    child.stdout.destroy();
    const [code] = await once(child, 'exit');
    expect(code).to.equal(0);
  });

  it('REPO shows the drops of that repository only, and knows a repository by its drops', async () => {
    daemon = await DaemonProcess.start(root, { yaml: 'settle: {quiet: 50ms, timeout: 10m}\n' });
    for (const name of ['thin:1', 'other:1']) {
      const { digest } = drop(name, name);
      rmSync(blobPath(join(root, 'inbox', name), digest));
    }
    for (const name of ['thin', 'other']) {
      writeFileSync(join(root, `inbox/${name}:a b.tar`), Buffer.alloc(10_240));
      writeFileSync(join(root, `inbox/${name}.tar`), 'no tar'.repeat(1000));
    }
    await waitFor('all', async () => {
      const { inbox } = await status();
      return inbox.filter(({ reason }) => reason).length >= 2;
    });
    const { inbox, waiting, repositories } = await status('thin');
    expect(repositories).to.deep.equal([]);
    expect(inbox.map(({ drop: name }) => name)).to.include('thin:1');
    expect(inbox.filter(({ drop: name }) => name.startsWith('other'))).to.deep.equal([]);
    expect(waiting).to.equal(inbox.length);
    const { stdout } = await dropdock('status', 'thin', '--root', root);
    expect(stdout).to.contain('thin:1').and.not.to.contain('other');
    expect((await dropdock('status', 'none', '--root', root)).code).to.equal(2);
  });

  it('shows real paths of this host, unlike the page', () => {
    const reason = '<inbox>/app <other>';
    const board = { drop: 'app', state: 'waiting', sinceMs: 0, reason } as const;
    const seen = toInboxReport(
      { kind: 'waiting', repositories: [], ...board },
      { inbox: '/srv/inbox' },
    );
    expect(seen.reason).to.equal('/srv/inbox/app <other>');
  });

  const REJECTED = {
    drop: 'web',
    claim: 'web',
    at: '20261124T110000.000Z' as Timestamp,
    code: 'digest.mismatch',
    message: `sha256:${'ab'.repeat(32)} is bad.`,
    hint: 'Copy it again.',
  };

  it('as text shows progress bars, and how many further entries there are', () => {
    const nowMs = Date.UTC(2026, 10, 24, 12);
    const sinceMs = nowMs - 10_000;
    const running = { drop: 'big', state: 'publishing', sinceMs } as const;
    const progress = { done: 512 * 1024 * 1024, total: 1024 * 1024 * 1024 };
    const waits = { drop: 'app', state: 'waiting', sinceMs: nowMs - 2 * HOUR_MS } as const;
    const text = showStatus(
      {
        ...NOTHING,
        daemons: [{ pid: 1, owner: 'p1', at: nowMs }],
        inbox: [{ ...running, progress }, ...Array.from({ length: 30 }, () => waits)],
        waiting: 100,
        rejected: [REJECTED],
        rejectedTotal: 5,
      },
      { one: false, columns: [], nowMs, commandLine: (...words) => words.join(' ') },
    );
    expect(text).to.match(/big +publishing +10s +reading \[#{12}-{12}\] 512 MiB of 1 GiB, 51\.2/);
    expect(text).to.match(/app +waiting +2h/);
    expect(text).to.contain('and 81 more');
    expect(text).to.match(
      /web +1h ago +digest\.mismatch +sha256:abababababab… is bad. Copy it again.\n {2}and 4 more\n/,
    );
  });
});
