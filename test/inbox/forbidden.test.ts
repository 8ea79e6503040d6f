import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { whatForbids } from '#src/inbox/forbidden.js';
import { type Disk, nodeDisk } from '#src/storage/disk.js';
import { dropPath } from '../support/deliver.js';
import { interfereWith, systemError } from '../support/faulty-disk.js';
import { makeLayout } from '../support/make-image.js';
import { receipts, testDaemon } from '../support/service.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { waitFor } from '../support/wait-for.js';
import { InboxFixture } from './inbox-fixture.js';

const OTHER = 12_345;

describe('reasons why a drop cannot be claimed', () => {
  const given = new InboxFixture();

  /** The drops belong to another user, whose modes decide. Root may write everything. */
  const othersDisk: Disk = {
    ...nodeDisk,
    statIfThere: (path) => {
      const stat = nodeDisk.statIfThere(path);
      return stat && { ...stat, uid: OTHER };
    },
    mayWrite: (path) => (nodeDisk.stat(path).mode & 0o022) !== 0,
  };

  /** Root may read everything, so the disk says no for it. */
  const without = (suffix: string) =>
    interfereWith(othersDisk, (operation) => {
      if (operation.verb === 'open' && (operation.paths.split(' ')[0] ?? '').endsWith(suffix)) {
        throw systemError('EACCES', operation);
      }
    });
  const says = (path: string, disk = othersDisk) => whatForbids(disk, { inbox: given.inbox, path });

  it('include a file that only its owner may read, as umoci creates', () => {
    given.makeDrop('team/app');
    mkdirSync(given.at('team/app/blobs'));
    writeFileSync(given.at('team/app/blobs/one'), '');
    chmodSync(given.at('team/app/blobs/one'), 0o600);
    expect(says('team/app', without('/one'))).to.equal(
      `cannot read app/blobs/one: permission denied (user ${OTHER}, mode 0600). Run: chmod -R g+rwX ${given.at('team/app')}`,
    );
  });

  it('include a directory that only its owner may write, as skopeo creates', () => {
    given.makeDrop('app');
    chmodSync(given.at('app'), 0o755);
    expect(says('app')).to.equal(
      `cannot move its directory: permission denied (user ${OTHER}, mode 0755). Run: chmod -R g+rwX ${given.at('app')}`,
    );
  });

  it('include a directory of the daemon itself that denies writing, and one deep inside', () => {
    given.makeDrop('app');
    mkdirSync(given.at('app/blobs'));
    chmodSync(given.at('app'), 0o555);
    const own: Disk = { ...othersDisk, statIfThere: nodeDisk.statIfThere };
    expect(says('app', own)).to.contain(`Run: chmod -R u+rwX ${given.at('app')}`);
    chmodSync(given.at('app'), 0o775);
    chmodSync(given.at('app/blobs'), 0o755);
    expect(says('app')).to.equal(
      `cannot delete from all of its directories: permission denied. Run: chmod -R g+rwX ${given.at('app')}`,
    );
  });

  it('are shown with the path quoted for a shell, whatever characters it contains', () => {
    const name = "it's; reboot $(x)";
    given.makeDrop(name);
    chmodSync(given.at(name), 0o755);
    const [, command] = says(name).split(': chmod -R g+rwX ');
    const echoed = execFileSync('sh', ['-c', `printf %s ${command}`], { encoding: 'utf8' });
    expect(echoed).to.equal(given.at(name));
  });

  it('include a parent directory that denies the removal of entries', () => {
    writeFileSync(given.at('app.tar'), '');
    chmodSync(given.inbox, 0o1755);
    expect(says('app.tar')).to.equal(
      `cannot move it out of its directory: permission denied (user ${OTHER}, mode 1755). Run: chmod g+w,-t ${given.inbox}`,
    );
  });
});

describe('a drop that cannot be claimed', () => {
  after(removeTempDirs);

  it('waits, reports what to do, and is published once that is done', async () => {
    const root = tempDir();
    const drop = dropPath(root, 'app:1');
    makeLayout(drop);
    let isForbidden = true;
    const disk = interfereWith(nodeDisk, (operation) => {
      const isTaking = operation.verb === 'rename' && operation.paths.includes('.claimed');
      if (isForbidden && isTaking) throw systemError('EACCES', operation);
    });
    const yaml =
      'settle: {quiet: 1ms}\nretry: {first: 10ms}\ninbox: {watch: false, scan: 1h, after: remove}\n';
    const { services, stop } = await testDaemon(root, { disk, yaml });
    try {
      const waiting = () => services.lines.find(({ event }) => event === 'drop.unreadable');
      await waitFor('the reason', waiting);
      expect(waiting()?.fields.reason).to.contain('permission denied');
      isForbidden = false;
      await waitFor('the receipt', () => receipts(root).length === 1);
    } finally {
      await stop();
    }
  });
});
