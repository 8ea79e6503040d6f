/** Steps 9 to 11: what keeps a publisher that was overtaken, or lost its lock, from flipping (I7). */
import { readdirSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { nodeDisk } from '#src/disk/disk.js';
import type { RepositoryId } from '#src/image/names.js';
import { flip } from '#src/publish/flip.js';
import type { Timestamp } from '#src/snapshot/timestamp.js';
import { deliver, prepareSweep, SWEPT_DROP, SWEPT_ID } from '../support/deliver.js';
import { interfereWith, systemError } from '../support/faulty-disk.js';
import { refusal } from '../support/refusal.js';
import { receipts, testDaemon, testServices } from '../support/service.js';
import { removeTempDirs } from '../support/temp-dir.js';
import { waitFor } from '../support/wait-for.js';

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

  it('keeps the drop when it could not be synced, until a later visit has synced it', async () => {
    let flipped = false;
    const disk = interfereWith(nodeDisk, (operation) => {
      const { verb, paths } = operation;
      if (verb === 'rename' && paths.endsWith(` ${pivot}`)) flipped = true;
      else if (flipped && verb === 'open' && paths === `${join(root, 'published/web')} directory`) {
        throw systemError('EIO', operation);
      }
    });
    const services = await testServices(root, { disk });
    const error = await deliver(services, SWEPT_DROP).catch((each: Error) => each);
    await services.close();
    expect(error).to.include({ code: 'EIO' });
    expect(readlinkSync(pivot)).not.to.contain(current);
    // Published, and perhaps not on disk: the claim stays and there is no receipt for it.
    expect(readdirSync(join(root, 'inbox/.claimed'))).to.have.length(1);
    expect(receipts(root)).to.have.length(1);
    const { stop } = await testDaemon(root);
    await waitFor('its receipt', () => receipts(root).length === 2);
    await stop();
    expect(receipts(root)[1]?.status).to.equal('unchanged');
  });
});
