import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { listClaims, takeOverClaims } from '#src/inbox/claim.js';
import {
  deleteMarked,
  finishPublished,
  finishPublishedBatch,
  finishRejected,
} from '#src/inbox/finish.js';
import { type Claim, claimPath, newClaim } from '#src/inbox/inbox-paths.js';
import { type Disk, nodeDisk } from '#src/storage/disk.js';
import { interfereWith, systemError } from '../support/faulty-disk.js';
import { recordingDisk } from '../support/recording-disk.js';
import { refusal } from '../support/refusal.js';
import { InboxFixture } from './inbox-fixture.js';

const AT = '20261123T152634.123Z';

describe('finishing a drop', () => {
  const given = new InboxFixture();
  const published = (claim: Claim, disk: Disk = nodeDisk) =>
    finishPublished(disk, { inbox: given.inbox, claim, receipt: '{"status":"published"}' });
  const rejected = (claim: Claim, disk: Disk = nodeDisk) => {
    const receipt = JSON.stringify({ status: 'rejected', claim: claim.name, claimedAt: claim.at });
    finishRejected(disk, { inbox: given.inbox, claim, receipt });
  };
  const takeOver = (dead: string) =>
    takeOverClaims(nodeDisk, { inbox: given.inbox, owner: 'heir', dead: [dead] });

  it('that is published: writes its receipt, removes the drop, and deletes it', () => {
    const claim = given.claim('app');
    published(claim);
    expect(given.receipt(`app@${AT}.json`)).to.deep.equal({ status: 'published' });
    expect(listClaims(nodeDisk, given)).to.deep.equal([]);
    expect(deleteMarked(nodeDisk, given)).to.equal(1);
    expect(given.names('.claimed')).to.deep.equal([]);
    expect(deleteMarked(nodeDisk, given)).to.equal(0);
  });

  describe('together with others', () => {
    const receipt = '{"status":"published"}';
    const three = () => ['app', 'team/app:1', 'team/app:2'].map((path) => given.claim(path));
    const together = (claims: readonly Claim[], disk: Disk = nodeDisk) =>
      finishPublishedBatch(disk, {
        inbox: given.inbox,
        drops: claims.map((claim) => ({ claim, receipt })),
      });

    it('syncs all receipts before it removes the first drop', () => {
      const { disk, log } = recordingDisk();
      expect(together(three(), disk)).to.deep.equal([null, null, null]);
      expect(given.names('.receipts')).to.have.lengthOf(3);
      expect(given.names('.claimed').every((name) => name.startsWith('.done-'))).to.equal(true);
      const isReceipt = ({ path }: { path: string }) => path.includes('.receipts/');
      const firstNamed = log.findIndex(
        ({ verb, path }) => verb === 'rename' && isReceipt({ path }),
      );
      const synced = log.slice(0, firstNamed).filter((each) => each.verb === 'sync');
      expect(synced.filter(isReceipt)).to.have.lengthOf(3);
      const retired = log.findIndex(({ verb, to }) => verb === 'rename' && to?.includes('.done-'));
      const directory = log.findLastIndex(
        ({ verb, path }) => verb === 'sync' && path.endsWith('.receipts'),
      );
      expect(directory).to.be.within(firstNamed, retired);
    });

    it('reports a vanished drop, and finishes the others', () => {
      const claims = three();
      rmSync(claimPath(given.inbox, claims[1] as Claim), { recursive: true });
      const failed = together(claims);
      expect(failed.map((each) => each?.fields.code)).to.deep.equal([
        undefined,
        'claim.lost',
        undefined,
      ]);
      expect(given.names('.receipts')).to.have.lengthOf(2);
    });

    it('keeps all drops, and leaves no partial receipt, when a receipt cannot be synced', () => {
      const claims = three();
      const disk = interfereWith(nodeDisk, (operation) => {
        if (operation.verb === 'sync') throw systemError('EIO', operation);
      });
      expect(() => together(claims, disk)).to.throw('EIO');
      expect(given.names('.receipts')).to.deep.equal([]);
      expect(listClaims(nodeDisk, given)).to.have.lengthOf(3);
    });
  });

  it('that is rejected: puts the complete drop where its owner finds it, with its receipt', () => {
    rejected(given.claim('team/app:1.0'));
    expect(given.names('.receipts')).to.deep.equal([`team~app:1.0@${AT}.json`]);
    const drop = given.at('.rejected', `team~app:1.0@${AT}`);
    expect(readFileSync(join(drop, 'index.json'), 'utf8')).to.equal('team/app:1.0');
    expect(given.names('.claimed')).to.deep.equal([]);
  });

  it('that is a rejected single file: puts it in a directory, like every rejected drop', () => {
    const claim = newClaim({ ...given.claim('app'), path: 'app.tar' });
    writeFileSync(claimPath(given.inbox, claim), 'archive');
    rejected(claim);
    expect(readFileSync(given.at('.rejected', `app.tar@${AT}`, 'app.tar'), 'utf8')).to.equal(
      'archive',
    );
  });

  for (const [what, letGo] of [
    ['published', published],
    ['refused', rejected],
  ] as const) {
    it(`that is ${what} and was taken over meanwhile: claim.lost, and no receipt`, () => {
      const claim = given.claim('app');
      takeOver('me');
      expect(refusal(() => letGo(claim)).code).to.equal('claim.lost');
      expect(given.names('.receipts')).to.deep.equal([]);
      expect(listClaims(nodeDisk, given).map(({ owner }) => owner)).to.deep.equal(['heir']);
    });

    it(`that is ${what}, with any step failing: loses nothing, and the next owner finishes it`, () => {
      let failures = 0;
      for (let k = 1; ; k++) {
        const owner = `p${k}`;
        const claim = given.claim(`app-${k}`, { owner });
        let failed = false;
        const disk = interfereWith(nodeDisk, (operation) => {
          if (operation.number !== k) return;
          failed = true;
          throw systemError('EIO', operation);
        });
        try {
          letGo(claim, disk);
        } catch (error) {
          expect(String(error)).to.include('EIO');
        }
        const isWhole = () => existsSync(given.at('.rejected', `app-${k}@${AT}`, 'index.json'));
        const hasReceipt = () => existsSync(given.at('.receipts', `app-${k}@${AT}.json`));
        // Whoever sees the receipt of a rejected drop finds the drop.
        if (what === 'refused' && hasReceipt()) expect(isWhole(), `at ${k}`).to.equal(true);
        for (const { claim: left } of takeOver(owner)) letGo(left);
        expect(hasReceipt(), `at ${k}`).to.equal(true);
        if (what === 'refused') expect(isWhole(), `at ${k}`).to.equal(true);
        expect(listClaims(nodeDisk, given), `at ${k}`).to.deep.equal([]);
        if (!failed) break;
        failures++;
      }
      expect(failures).to.be.greaterThan(5);
      // No receipt without a name is left behind by the dead.
      expect(given.names('.receipts').filter((name) => !name.endsWith('.json'))).to.deep.equal([]);
    });
  }

  it('removes a partial receipt of a dead process that is torn or names no rejected drop', () => {
    for (const text of ['{"status":"rej', '{"status":"published"}', 'null']) {
      writeFileSync(given.at('.receipts', '.dead-0123'), text);
      takeOver('dead');
      expect(given.names('.receipts'), text).to.deep.equal([]);
    }
  });

  it('keeps partial receipts of living processes', () => {
    writeFileSync(given.at('.receipts', '.alive-0123'), '{"status":"rej');
    takeOver('dead');
    expect(given.names('.receipts')).to.deep.equal(['.alive-0123']);
  });

  it('deletes drops marked for deletion, and no claimed drops', () => {
    const claim = given.claim('kept');
    published(given.claim('gone'));
    rmSync(given.at('.receipts'), { recursive: true });
    expect(deleteMarked(nodeDisk, given)).to.equal(1);
    expect(given.holds(claim)).to.equal(true);
  });
});
