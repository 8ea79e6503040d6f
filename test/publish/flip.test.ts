/** Steps 9 to 11: what keeps a publisher that was overtaken, or lost its lock, from flipping (I7). */
import { readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { nodeDisk } from '#src/disk/disk.js';
import type { RepositoryId } from '#src/image/names.js';
import { flip } from '#src/publish/flip.js';
import type { Timestamp } from '#src/snapshot/timestamp.js';
import { prepareSweep, SWEPT_ID } from '../support/deliver.js';
import { refusal } from '../support/refusal.js';
import { removeTempDirs } from '../support/temp-dir.js';

const LATER = '20990101T000000.000Z' as Timestamp;

describe('flip', () => {
  let root: string;
  let pivot: string;
  let current: Timestamp;

  beforeEach(async () => {
    ({ root } = await prepareSweep());
    pivot = join(root, 'published/web', SWEPT_ID);
    current = readlinkSync(pivot).split('/').at(-1) as Timestamp;
  });

  afterEach(removeTempDirs);

  const request = (base: Timestamp | null, lost = 0) => ({
    roots: { published: join(root, 'published'), state: join(root, 'state') },
    id: SWEPT_ID as RepositoryId,
    base,
    snapshot: LATER,
    owner: 'p1x2',
    lockLost: new Int32Array(new SharedArrayBuffer(4)).fill(lost),
  });

  it('moves the pivot when it is what the publish was built on', () => {
    expect(flip(nodeDisk, request(current))).to.deep.equal([]);
    expect(readlinkSync(pivot)).to.equal(`../master/${SWEPT_ID}/${LATER}`);
  });

  for (const base of [null, '20200101T000000.000Z' as Timestamp]) {
    it(`leaves it when another publisher moved it meanwhile (built on ${base})`, () => {
      expect(refusal(() => flip(nodeDisk, request(base))).code).to.equal('pivot.moved');
      expect(readlinkSync(pivot)).to.contain(current);
    });
  }

  it('leaves it when the lock is lost', () => {
    expect(refusal(() => flip(nodeDisk, request(current, 1))).code).to.equal('lock.lost');
    expect(readlinkSync(pivot)).to.contain(current);
  });

  it('believes the pivot and not the answer of a rename that was lost on its way (NFS)', () => {
    const disk = {
      ...nodeDisk,
      rename: (from: string | Buffer, to: string) => {
        nodeDisk.rename(from, to);
        throw Object.assign(new Error('EIO'), { code: 'EIO', syscall: 'rename' });
      },
    };
    expect(flip(disk, request(current))).to.deep.equal([]);
    expect(readlinkSync(pivot)).to.contain(LATER);
  });
});
