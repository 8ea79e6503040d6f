import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect } from 'chai';
import { flatDropName, parseDropName } from '#src/image/names.js';
import {
  clockOwners,
  listClaims,
  prepareInbox,
  returnClaim,
  takeOverClaims,
} from '#src/inbox/claim.js';
import { ClaimMoments } from '#src/inbox/claim-moments.js';
import { deleteMarked, finishPublished, finishRejected } from '#src/inbox/finish.js';
import {
  type Claim,
  claimedDirectory,
  claimPath,
  clockFile,
  doneFile,
  newClaim,
  parseClaim,
} from '#src/inbox/inbox-paths.js';
import { scanInbox } from '#src/inbox/scan.js';
import type { Timestamp } from '#src/repository/timestamp.js';
import { type Disk, nodeDisk } from '#src/storage/disk.js';
import { dropPathFrom, type RandomDrop } from '../support/drop-paths.js';
import { interfereWith, systemError } from '../support/faulty-disk.js';
import { makeRandom } from '../support/random.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { InboxFixture, NOW } from './inbox-fixture.js';

const AT = '20261123T152634.123Z' as Timestamp;

describe('claiming a drop', () => {
  const given = new InboxFixture();

  it('moves it into .claimed in one step and frees its name', () => {
    const claim = given.claim('team/app:1.0');
    expect(claim).to.deep.equal(newClaim({ path: 'team/app:1.0', at: AT, owner: 'me' }));
    expect(given.holds(claim)).to.equal(true);
    expect(existsSync(given.at('team/app:1.0'))).to.equal(false);
    expect(listClaims(nodeDisk, given)).to.deep.equal([claim]);
  });

  it('succeeds for only one of two claimants', () => {
    given.makeDrop('app');
    expect(given.take('app')).to.have.property('name', 'app');
    expect(given.take('app', { owner: 'other' })).to.equal('gone');
    expect(given.names('.claimed')).to.have.length(1);
  });

  it('returns it unchanged when it is still being written', () => {
    given.makeDrop('team/app');
    expect(given.take('team/app', { signature: 'as it was before' })).to.equal('changed');
    expect(readFileSync(given.at('team/app/index.json'), 'utf8')).to.equal('team/app');
    expect(given.names('.claimed')).to.deep.equal([]);
  });

  it('returns it beside a new drop that was started in its place', () => {
    given.makeDrop('team/app:1.0');
    const disk: Disk = {
      ...nodeDisk,
      rename: (from, to) => {
        nodeDisk.rename(from, to);
        if (String(from).endsWith('/app:1.0')) given.makeDrop('team/app:1.0/begun');
      },
    };
    expect(given.take('team/app:1.0', { signature: 'before' }, disk)).to.equal('changed');
    expect(existsSync(given.at('team/app:1.0/begun/index.json'))).to.equal(true);
    expect(given.names()).to.deep.equal(['team']);
    expect(existsSync(given.at('team', `app:1.0@returned-${AT}`, 'index.json'))).to.equal(true);
    expect(given.names('.claimed')).to.deep.equal([]);
  });

  it('returns it to the inbox when its namespace is gone', () => {
    given.makeDrop('team/app@x');
    const disk: Disk = {
      ...nodeDisk,
      rename: (from, to) => {
        nodeDisk.rename(from, to);
        rmSync(given.at('team'), { recursive: true, force: true });
      },
    };
    expect(given.take('team/app@x', { signature: 'before' }, disk)).to.equal('changed');
    expect(given.names()).to.deep.equal([`team~app@x-returned-${AT}`]);
  });

  it('returns it when no more files can be opened', () => {
    given.makeDrop('team/app:1.0');
    let isTaken = false;
    const disk = interfereWith(nodeDisk, (operation) => {
      const { verb, paths } = operation;
      if (isTaken && (verb === 'open' || verb === 'list')) throw systemError('EMFILE', operation);
      isTaken ||= verb === 'rename' && paths.includes('.claimed');
    });
    expect(() => given.take('team/app:1.0', {}, disk)).to.throw('EMFILE');
    expect(readFileSync(given.at('team/app:1.0/index.json'), 'utf8')).to.equal('team/app:1.0');
    expect(given.names('.claimed')).to.deep.equal([]);
  });

  it('removes its marker file', () => {
    given.makeDrop('app');
    writeFileSync(given.at('app.done'), '');
    given.take('app', { marker: '.done' });
    expect(given.names()).to.deep.equal([]);
  });

  it('keeps the marker file of a returned drop', () => {
    given.makeDrop('app');
    writeFileSync(given.at('app.done'), '');
    given.take('app', { marker: '.done', signature: 'before' });
    expect(given.names()).to.have.members(['app', 'app.done']);
  });

  for (const [directory, suffix] of [
    ['.receipts', '.json'],
    ['.rejected', ''],
  ] as const) {
    it(`uses a timestamp that no name in ${directory} uses`, () => {
      mkdirSync(given.at(directory, `app@${AT}${suffix}`));
      expect(given.claim('app').at).to.equal('20261123T152634.124Z');
      expect(given.claim('other').at).to.equal(AT);
    });
  }

  it('propagates a disk error and leaves the drop in place', () => {
    given.makeDrop('app');
    const disk = interfereWith(nodeDisk, (operation) => {
      if (operation.verb === 'rename') throw systemError('EACCES', operation);
    });
    expect(() => given.take('app', {}, disk)).to.throw('EACCES');
    expect(given.names()).to.deep.equal(['app']);
  });
});

describe('returning a claim', () => {
  const given = new InboxFixture();

  it('puts an incomplete drop back where it was', () => {
    const claim = given.claim('team/app');
    returnClaim(nodeDisk, { inbox: given.inbox, claim });
    expect(existsSync(given.at('team/app/index.json'))).to.equal(true);
    expect(listClaims(nodeDisk, given)).to.deep.equal([]);
  });
});

describe('prepareInbox', () => {
  const given = new InboxFixture();

  it('makes claims private and receipts readable by all users', () => {
    const mode = (name: string) => statSync(given.at(name)).mode & 0o777;
    expect([mode('.claimed'), mode('.rejected'), mode('.receipts')]).to.deep.equal([
      0o700, 0o755, 0o755,
    ]);
    prepareInbox(nodeDisk, given);
  });
});

describe('parseClaim', () => {
  const claimed = (path: string) => newClaim({ path, at: AT, owner: 'p1x2' });
  const cases: readonly [string, object | undefined][] = [
    [`team~app:1.0@${AT}.p1x2`, claimed('team/app:1.0')],
    [`^team^app=1.0@${AT}.p1x2`, claimed('team~app=1.0')],
    [`reg:5000~team~app:1.0@${AT}.p1x2`, claimed('reg:5000/team/app:1.0')],
    [`app@label@${AT}.p1x2`, claimed('app@label')],
    [`line\nbreak@${AT}.p1x2`, claimed('line\nbreak')],
    [`.done-app@${AT}.p1x2`, undefined],
    [`.clock-p1x2`, undefined],
    ['app@yesterday.p1x2', undefined],
    [`app@${AT}`, undefined],
  ];
  for (const [file, claim] of cases) {
    it(`reads ${JSON.stringify(file)} as ${claim ? 'a claim' : 'none'}`, () => {
      expect(parseClaim(file)).to.deep.equal(claim);
    });
  }
});

describe('takeover', () => {
  const given = new InboxFixture();
  const takeOver = (...dead: string[]) =>
    takeOverClaims(nodeDisk, { inbox: given.inbox, owner: 'heir', dead });

  it('removes the clock file of a process that died while reading the time', () => {
    const clock = (name: string) => join(claimedDirectory(given.inbox), clockFile(name));
    for (const name of ['dead', 'me']) writeFileSync(clock(name), '');
    expect(clockOwners(nodeDisk, given).sort()).to.deep.equal(['dead', 'me']);
    takeOver('dead');
    expect(given.names('.claimed')).to.deep.equal(['.clock-me']);
  });

  it('takes over claims of dead processes, oldest first, and leaves claims of living ones', () => {
    given.claim('b', { owner: 'dead', nowMs: NOW + 5 });
    given.claim('a', { owner: 'dead', nowMs: NOW + 10 });
    given.claim('c', { owner: 'dead2', nowMs: NOW });
    const alive = given.claim('d', { owner: 'alive' });
    const taken = takeOver('dead', 'dead2');
    expect(taken.map(({ claim }) => [claim.name, claim.owner])).to.deep.equal([
      ['c', 'heir'],
      ['b', 'heir'],
      ['a', 'heir'],
    ]);
    expect(taken.every(({ claim }) => given.holds(claim))).to.equal(true);
    expect(given.holds(alive)).to.equal(true);
  });

  it('reports whether a drop is a directory or an archive', () => {
    given.claim('directory', { owner: 'dead' });
    writeFileSync(given.at('.claimed', `archive.tar@${AT}.dead`), '');
    const kinds = takeOver('dead').map(({ claim, kind }) => [claim.name, kind]);
    expect(kinds).to.have.deep.members([
      ['directory', 'directory'],
      ['archive.tar', 'file'],
    ]);
  });

  it('finishes claims with a receipt: deletes published drops, moves rejected ones', () => {
    const published = given.claim('good', { owner: 'dead' });
    const rejected = given.claim('bad', { owner: 'dead' });
    writeFileSync(given.at('.receipts', `good@${AT}.json`), '{"status":"published"}');
    writeFileSync(given.at('.receipts', `bad@${AT}.json`), '{"status":"rejected"}');
    expect(takeOver('dead')).to.deep.equal([]);
    expect(existsSync(given.at('.claimed', doneFile({ ...published, owner: 'heir' })))).to.equal(
      true,
    );
    expect(existsSync(join(given.at('.rejected'), `bad@${AT}`, 'index.json'))).to.equal(true);
    expect(listClaims(nodeDisk, given)).to.deep.equal([]);
    expect(given.holds(rejected)).to.equal(false);
  });

  it('republishes drops whose receipt is damaged', () => {
    given.claim('app', { owner: 'dead' });
    writeFileSync(given.at('.receipts', `app@${AT}.json`), '{"status":"publ');
    expect(takeOver('dead').map(({ claim }) => claim.name)).to.deep.equal(['app']);
  });

  it('skips a claim that another process took over first', () => {
    const claim = given.claim('app', { owner: 'dead' });
    const disk: Disk = {
      ...nodeDisk,
      rename: (from, to) => {
        rmSync(claimPath(given.inbox, claim), { recursive: true, force: true });
        nodeDisk.rename(from, to);
      },
    };
    const request = { inbox: given.inbox, owner: 'heir', dead: ['dead'] };
    expect(takeOverClaims(disk, request)).to.deep.equal([]);
  });
});

/** One drop by itself in an inbox; a directory, or an archive. */
function makeDrop(inbox: string, { path, isFile }: RandomDrop): void {
  mkdirSync(join(inbox, dirname(path)), { recursive: true });
  if (!isFile) mkdirSync(join(inbox, path));
  writeFileSync(isFile ? join(inbox, path) : join(inbox, path, 'index.json'), path);
}

describe('the path of a drop', () => {
  const given = new InboxFixture();
  const takeOver = (heir: string, dead: string) =>
    takeOverClaims(nodeDisk, { inbox: given.inbox, owner: heir, dead: [dead] });
  const only = <T>(all: readonly T[]): T => {
    expect(all).to.have.length(1);
    return all[0] as T;
  };

  it('is kept through claim, crash, takeover, return and the next claim', function () {
    // A few thousand syncs: 2 s on a tmpfs, more than 20 on a busy disk.
    this.timeout(120_000);
    const seed = Math.floor(Math.random() * 2 ** 31);
    const random = makeRandom(seed);
    for (let n = 0; n < 150; n++) {
      const drop = dropPathFrom(random);
      const { path, isFile } = drop;
      const about = `seed ${seed}: ${path}`;
      // What lies in the way when it is returned: nothing, something new, or no directory any more.
      const way = (['free', 'taken', 'gone'] as const)[Math.floor(random() * 3)];
      given.inbox = join(tempDir(), 'inbox');
      prepareInbox(nodeDisk, given);
      makeDrop(given.inbox, drop);
      expect(given.take(path, { owner: 'dead' }), about).to.be.an('object');
      const { claim, kind } = only(takeOver('heir', 'dead'));
      expect([claim.path, kind], about).to.deep.equal([path, isFile ? 'file' : 'directory']);
      expect(only(takeOver('second', 'heir')).claim.path, about).to.equal(path);
      const mine = { ...claim, owner: 'second' };
      if (way === 'taken') makeDrop(given.inbox, { ...drop, path });
      if (way === 'gone')
        rmSync(given.at(path.split('/')[0] ?? ''), { recursive: true, force: true });
      returnClaim(nodeDisk, { inbox: given.inbox, claim: mine });
      expect(listClaims(nodeDisk, given), about).to.deep.equal([]);
      const scan = scanInbox(nodeDisk, { inbox: given.inbox, marker: undefined }, (entries) =>
        entries.some(({ name }) => name === 'index.json'),
      );
      expect(scan.ignored, about).to.deep.equal([]);
      const others = scan.drops.filter((each) => way !== 'taken' || each.path !== path);
      const returned = only(others).path;
      if (way === 'free') expect(returned, about).to.equal(path);
      if (way === 'taken') expect(dirname(returned), about).to.equal(dirname(path));
      expect(parseDropName(returned, isFile), about).to.deep.equal(parseDropName(path, isFile));
      const again = given.take(returned);
      expect(again, about).to.include({ path: returned, name: flatDropName(returned) });
      removeTempDirs();
    }
  });

  it('is parsed from the name an earlier version gave, and its drop is returned there', () => {
    for (const [file, path] of [
      ['reg:5000~team~app:1.2', 'reg:5000/team/app:1.2'],
      ['team~app=1.2', 'team/app=1.2'],
      ['team~@all.tar', 'team/@all.tar'],
      ['app:1@a~b', 'app:1@a~b'],
    ] as const) {
      writeFileSync(given.at('.claimed', `${file}@${AT}.dead`), '');
      const { claim } = only(takeOver('heir', 'dead'));
      expect(claim).to.deep.equal(newClaim({ path, at: AT, owner: 'heir' }));
      expect(claim.name).to.equal(file);
      mkdirSync(given.at(dirname(path)), { recursive: true });
      returnClaim(nodeDisk, { inbox: given.inbox, claim });
      expect(existsSync(given.at(path)), path).to.equal(true);
    }
  });

  it('of 200 bytes can be claimed, taken over, marked for deletion and returned beside another', () => {
    const owner = `p4194304x${'a'.repeat(12)}`;
    for (const path of [`${'a~'.repeat(99)}bc`, `${'x'.repeat(196)}.tar`]) {
      for (const isFile of [true, false]) {
        const drop = { path, isFile, isBundle: false };
        makeDrop(given.inbox, drop);
        const claim = given.take(path, { owner }) as Claim;
        makeDrop(given.inbox, drop);
        returnClaim(nodeDisk, { inbox: given.inbox, claim });
        const [beside = ''] = given.names().filter((name) => name !== path);
        expect(parseDropName(beside, isFile)).to.deep.equal(parseDropName(path, isFile));
        const second = given.take(beside, { owner }) as Claim;
        finishPublished(nodeDisk, { inbox: given.inbox, claim: second, receipt: '{}' });
        deleteMarked(nodeDisk, given);
        const third = given.take(path, { owner }) as Claim;
        finishRejected(nodeDisk, { inbox: given.inbox, claim: third, receipt: '{}' });
        expect(given.names('.claimed')).to.deep.equal([]);
        expect(given.names('.rejected')).to.have.length(1);
        rmSync(given.at('.rejected', given.names('.rejected')[0] ?? ''), { recursive: true });
      }
    }
  });

  it('differs from a path with ~ for /, even when both are claimed at the same moment', () => {
    for (const path of ['team/app.tar', 'team~app.tar']) {
      makeDrop(given.inbox, { path, isFile: true, isBundle: false });
      given.take(path);
    }
    expect(listClaims(nodeDisk, given).map(({ path }) => path)).to.have.members([
      'team/app.tar',
      'team~app.tar',
    ]);
  });
});

describe('ClaimMoments', () => {
  it('never gives one flat name the same timestamp twice, and shares timestamps across names', () => {
    const moments = new ClaimMoments();
    const paths = ['team/app', 'team~app', 'app', 'team~app'];
    expect(paths.map((path) => moments.next(path, 5000))).to.deep.equal([5000, 5001, 5000, 5002]);
    expect(moments.next('team/app', 5001)).to.equal(5003);
    expect(moments.next('app', 20_000)).to.equal(20_000);
    expect(moments.next('app', 20_000)).to.equal(20_001);
    // After the clock was set back, that is the time.
    expect(moments.next('app', 100)).to.equal(100);
  });
});
