import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { expect } from 'chai';
import { listClaims, returnClaim, takeOverClaims } from '#src/inbox/claim.js';
import { finishPublished } from '#src/inbox/finish.js';
import { type Claim, leftDirectory } from '#src/inbox/inbox-paths.js';
import { readLeft } from '#src/inbox/left.js';
import { scanInbox } from '#src/inbox/scan.js';
import { signatureOf } from '#src/inbox/signature.js';
import { type Disk, nodeDisk } from '#src/storage/disk.js';
import { systemError } from '../support/faulty-disk.js';
import { InboxFixture, NOW } from './inbox-fixture.js';

/** Another user's directories, to a process that is not root. */
function forbidding(path: string): Disk {
  return {
    ...nodeDisk,
    rename: (from, to) => {
      if (String(from).endsWith(`/${path}`)) {
        throw systemError('EACCES', { number: 0, verb: 'rename', paths: path });
      }
      nodeDisk.rename(from, to);
    },
  };
}

describe('a drop that stays in the inbox', () => {
  const given = new InboxFixture();
  const isImage = (entries: readonly { readonly name: string }[]) =>
    entries.some(({ name }) => name === 'index.json');
  const scan = () =>
    scanInbox(nodeDisk, { inbox: given.inbox, marker: undefined, clock: 'me' }, isImage);
  const paths = (all: readonly { readonly path: string }[]) => all.map(({ path }) => path);
  const records = () => readdirSync(leftDirectory(given.inbox));

  let nowMs = NOW;
  function copied(path: string, disk: Disk = forbidding('app:1')): Claim {
    const claim = given.take(path, { after: 'auto', nowMs: nowMs++ }, disk);
    if (typeof claim === 'string') throw new Error(claim);
    return claim;
  }

  beforeEach(() => given.makeDrop('team/app:1'));

  it('is claimed by a copy if it cannot be moved, and says why', () => {
    const claim = copied('team/app:1');
    expect(claim.left).to.contain('permission denied');
    expect(claim.uid, 'the owner of the drop').to.equal(process.getuid?.());
    expect(given.holds(claim)).to.equal(true);
    expect(readFileSync(given.at('team/app:1/index.json'), 'utf8')).to.equal('team/app:1');
    expect(listClaims(nodeDisk, given)).to.have.length(1);
  });

  it('is not copied with inbox.after: remove, and always with leave', () => {
    expect(() => given.take('team/app:1', { after: 'remove' }, forbidding('app:1'))).to.throw(
      'EACCES',
    );
    expect(records()).to.deep.equal([]);
    expect(given.take('team/app:1', { after: 'leave' })).to.include({
      left: 'inbox.after is leave',
    });
    expect(existsSync(given.at('team/app:1/index.json'))).to.equal(true);
  });

  it('is moved with auto if that is possible', () => {
    expect(given.take('team/app:1', { after: 'auto' }))
      .to.be.an('object')
      .and.not.to.have.property('left');
    expect(existsSync(given.at('team/app:1'))).to.equal(false);
  });

  it('is no drop any more until it changes', () => {
    copied('team/app:1');
    expect(paths(scan().drops)).to.deep.equal([]);
    expect(paths(scan().left)).to.deep.equal(['team/app:1']);
    writeFileSync(given.at('team/app:1/index.json'), 'another');
    expect(paths(scan().drops)).to.deep.equal(['team/app:1']);
    expect(records(), 'the record of the old one is gone').to.deep.equal([]);
    copied('team/app:1');
    expect(paths(scan().drops)).to.deep.equal([]);
  });

  it('is a drop again when its mode changes: it may be movable now', () => {
    copied('team/app:1');
    chmodSync(given.at('team/app:1'), 0o777);
    expect(paths(scan().drops)).to.deep.equal(['team/app:1']);
    expect(given.take('team/app:1', { after: 'auto', nowMs: NOW + 1 })).to.be.an('object');
    expect(existsSync(given.at('team/app:1'))).to.equal(false);
  });

  it('is forgotten when it is gone', () => {
    copied('team/app:1');
    rmSync(given.at('team/app:1'), { recursive: true });
    scan();
    expect(records()).to.deep.equal([]);
    given.makeDrop('team/app:1');
    expect(paths(scan().drops)).to.deep.equal(['team/app:1']);
  });

  it('is claimed by only one of several daemons', () => {
    copied('team/app:1');
    const other = given.take('team/app:1', { after: 'auto', owner: 'other' }, forbidding('app:1'));
    expect(other).to.equal('gone');
    expect(given.names('.claimed')).to.have.length(1);
  });

  it('is not claimed when it changes while it is copied', () => {
    const disk: Disk = {
      ...forbidding('app:1'),
      makeDirectory: (path) => {
        nodeDisk.makeDirectory(path);
        writeFileSync(given.at('team/app:1/late'), 'late');
      },
    };
    expect(given.take('team/app:1', { after: 'auto' }, disk)).to.equal('changed');
    expect([...given.names('.claimed'), ...records()]).to.deep.equal([]);
  });

  it('is not copied if there is no room for it, as for a sparse file of a terabyte', () => {
    truncateSync(given.at('team/app:1/index.json'), 10 ** 12);
    const disk: Disk = {
      ...forbidding('app:1'),
      free: () => ({ bytes: 10 ** 9, hasReflinks: false }),
    };
    const { signature } = signatureOf(nodeDisk, given.at('team/app:1'));
    expect(() => given.take('team/app:1', { after: 'auto', signature }, disk)).to.throw('are free');
    expect([...given.names('.claimed'), ...records()]).to.deep.equal([]);
  });

  it('is copied up to the size it had, even if it grows meanwhile', () => {
    let reads = 0;
    const disk: Disk = {
      ...forbidding('app:1'),
      read: (fd, into, length, position) => {
        if (++reads > 10) throw new Error('it is followed without end');
        appendFileSync(given.at('team/app:1/index.json'), 'more');
        return nodeDisk.read(fd, into, length, position);
      },
    };
    expect(given.take('team/app:1', { after: 'auto' }, disk)).to.equal('changed');
  });

  it('leaves neither a copy nor a record when the disk is full', () => {
    const disk: Disk = {
      ...forbidding('app:1'),
      write: (fd, from, offset, position) => {
        if (String(from).includes('team/app:1') && !String(from).includes('owner')) {
          throw systemError('ENOSPC', { number: 0, verb: 'write', paths: '' });
        }
        return nodeDisk.write(fd, from, offset, position);
      },
    };
    expect(() => given.take('team/app:1', { after: 'auto' }, disk)).to.throw('ENOSPC');
    expect([...given.names('.claimed'), ...records()]).to.deep.equal([]);
    expect(paths(scan().drops)).to.deep.equal(['team/app:1']);
  });

  it('is claimed again after its daemon died while copying', () => {
    const dying: Disk = {
      ...forbidding('app:1'),
      rename: (from, to) => {
        if (String(to).includes('team')) throw new Error('killed');
        forbidding('app:1').rename(from, to);
      },
      // Nothing is tidied up by a process that was killed.
      unlink: () => {},
      removeDirectory: () => {},
    };
    expect(() => given.take('team/app:1', { after: 'leave' }, dying)).to.throw('killed');
    expect(records()).to.have.length(1);
    takeOverClaims(nodeDisk, { inbox: given.inbox, owner: 'next', dead: ['me'] });
    expect([...given.names('.claimed'), ...records()]).to.deep.equal([]);
    expect(paths(scan().drops)).to.deep.equal(['team/app:1']);
  });

  it('stays recorded when its daemon died after the claim, or after the receipt', () => {
    const claim = copied('team/app:1');
    const [taken] = takeOverClaims(nodeDisk, { inbox: given.inbox, owner: 'next', dead: ['me'] });
    expect(taken?.claim).to.include({ owner: 'next', left: claim.left, uid: claim.uid });
    expect(paths(scan().left)).to.deep.equal(['team/app:1']);
    const receipt = JSON.stringify({ status: 'published' });
    finishPublished(nodeDisk, { inbox: given.inbox, claim: taken?.claim as Claim, receipt });
    takeOverClaims(nodeDisk, { inbox: given.inbox, owner: 'third', dead: ['me', 'next'] });
    expect(paths(scan().left)).to.deep.equal(['team/app:1']);
  });

  it('is claimed although a power cut left an empty record', () => {
    copied('team/app:1');
    const [name = ''] = records();
    rmSync(given.at('.claimed'), { recursive: true });
    mkdirSync(given.at('.claimed'));
    writeFileSync(given.at('.left', name), '');
    expect(paths(scan().drops)).to.deep.equal(['team/app:1']);
    expect(copied('team/app:1')).to.be.an('object');
    expect(readLeft(nodeDisk, given.inbox).size).to.equal(1);
  });

  it('waits again when its claim came too early', () => {
    const claim = copied('team/app:1');
    returnClaim(nodeDisk, { inbox: given.inbox, claim });
    expect([...given.names('.claimed'), ...records()]).to.deep.equal([]);
    expect(paths(scan().drops)).to.deep.equal(['team/app:1']);
  });
});
