/** Uploaders can take back their own rejected drops, and nothing else. */

import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { prepareInbox } from '#src/inbox/claim.js';
import { finishRejected } from '#src/inbox/finish.js';
import { claimPath, newClaim, rejectedPath } from '#src/inbox/inbox-paths.js';
import { listRejected } from '#src/inbox/rejected.js';
import type { Timestamp } from '#src/repository/timestamp.js';
import { nodeDisk } from '#src/storage/disk.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';

const AT = '20261123T152634.123Z' as Timestamp;
const [ALICE, BOB, GROUP] = [4321, 4322, 8765];

describe('a rejected drop', () => {
  let inbox: string;

  beforeEach(() => {
    const root = tempDir();
    chmodSync(root, 0o755);
    inbox = join(root, 'inbox');
    mkdirSync(inbox);
  });
  afterEach(removeTempDirs);

  const modeOf = (path: string) => (statSync(join(inbox, path)).mode & 0o7777).toString(8);
  const claimOf = (path: string) => newClaim({ path, at: AT, owner: 'p1' });
  const reject = (path: string, owner?: number) => {
    const claim = claimOf(path);
    const place = claimPath(inbox, claim);
    if (path.endsWith('.tar')) writeFileSync(place, 'an archive');
    else mkdirSync(place);
    if (owner !== undefined) chownSync(place, owner, GROUP);
    finishRejected(nodeDisk, { inbox, claim, receipt: '{}' });
    return rejectedPath(claim, path.endsWith('.tar') ? 'file' : 'directory') ?? '';
  };

  it('belongs to its owner where a group may write to the inbox, also after an upgrade', () => {
    prepareInbox(nodeDisk, { inbox });
    chmodSync(inbox, 0o2775);
    expect(modeOf('.rejected')).to.equal('755');
    prepareInbox(nodeDisk, { inbox });
    expect(modeOf('.rejected')).to.equal('3775');
    const kept = reject('app:1.tar');
    expect(kept).to.equal(`.rejected/app:1.tar@${AT}/app:1.tar`);
    expect(existsSync(join(inbox, kept))).to.equal(true);
    expect(modeOf(`.rejected/app:1.tar@${AT}`)).to.equal('3775');
    expect(existsSync(join(inbox, reject('app')))).to.equal(true);
  });

  it('that stays in the inbox need not be taken back', () => {
    expect(rejectedPath({ ...claimOf('app'), left: 'another user' }, 'directory')).to.equal(
      undefined,
    );
  });

  it('is for the daemon only where no group may write to the inbox', () => {
    chmodSync(inbox, 0o755);
    prepareInbox(nodeDisk, { inbox });
    reject('app:1.tar');
    expect(modeOf('.rejected')).to.equal('755');
    expect(modeOf(`.rejected/app:1.tar@${AT}`)).to.equal('755');
  });

  describe('of a member of the group of the inbox', () => {
    before(function () {
      if (process.getuid?.() !== 0) this.skip();
    });

    beforeEach(() => {
      chownSync(inbox, 0, GROUP);
      chmodSync(inbox, 0o2775);
      prepareInbox(nodeDisk, { inbox });
    });

    const as = (uid: number, command: string) =>
      spawnSync(
        'setpriv',
        ['--reuid', `${uid}`, '--regid', `${uid}`, '--groups', `${GROUP}`, 'sh', '-c', command],
        { cwd: inbox },
      ).status;

    it('can be moved and deleted by that member, and by no other one', () => {
      for (const kept of [reject('app:1.tar', ALICE), reject('app', ALICE)]) {
        expect(as(BOB, `mv '${kept}' mine`)).not.to.equal(0);
        expect(as(ALICE, `mv '${kept}' back`)).to.equal(0);
        expect(as(ALICE, 'rm -r back')).to.equal(0);
      }
      // Only the empty directory of the archive is left.
      expect(readdirSync(join(inbox, '.rejected'))).to.have.length(1);
      expect(listRejected(nodeDisk, { inbox, count: 9 })).to.deep.equal({ drops: [], total: 0 });
    });

    it('is not moved into a directory that a member has made for it', () => {
      expect(as(BOB, `mkdir '.rejected/app:1.tar@${AT}'`)).to.equal(0);
      const kept = reject('app:1.tar', ALICE);
      expect(as(BOB, `mv '${kept}' mine`)).not.to.equal(0);
      expect(as(ALICE, `mv '${kept}' back`)).to.equal(0);
    });
  });
});
