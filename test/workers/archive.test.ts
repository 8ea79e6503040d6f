/** Goal: whatever fails while an archive is read, all its work stops, and no file is closed twice. */
import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { expect } from 'chai';
import { openArchive } from '#src/formats/archive.js';
import { nodeDisk } from '#src/storage/disk.js';
import { type DiskOperation, interfereWith, systemError } from '../support/faulty-disk.js';
import { makeTar } from '../support/make-tar.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';

/** Of several pieces, read one after the other. */
const BODY = randomBytes(200_000);

describe('opening a compressed archive', () => {
  afterEach(removeTempDirs);

  /** @returns how it failed, and what was done to the disk after that was known */
  async function failing(fails: (operation: DiskOperation) => boolean) {
    const root = tempDir();
    mkdirSync(join(root, 'inbox'));
    const path = join(root, 'inbox', 'app.tar.gz');
    writeFileSync(path, gzipSync(makeTar([{ path: 'one', body: BODY }]), { level: 1 }));
    let operations = 0;
    const disk = interfereWith(nodeDisk, (operation) => {
      operations++;
      if (fails(operation)) throw systemError('EIO', operation);
    });
    const archive = { path, spool: join(root, 'spool'), progress: undefined };
    const error = await openArchive(disk, archive, () => 'read').catch((each: Error) => each);
    const before = operations;
    for (let turn = 0; turn < 50; turn++) await nextTurn();
    return { error, after: operations - before };
  }

  for (const failed of ['open', 'close', 'sync', 'write', 'read'] as const) {
    it(`leaves nothing running, and closes nothing twice, when an operation fails: ${failed}`, async () => {
      for (let k = 1; ; k++) {
        let number = 0;
        const { error, after } = await failing(({ verb }) => verb === failed && ++number === k);
        if (error === 'read') {
          expect(k).to.be.greaterThan(1);
          return;
        }
        expect(error, `the ${k}th ${failed}`).to.have.property('code', 'EIO');
        expect(after, `after the ${k}th ${failed}`).to.equal(0);
      }
    });
  }
});
