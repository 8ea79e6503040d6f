import {
  appendFileSync,
  chmodSync,
  existsSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { expect } from 'chai';
import type { Digest } from '#src/image/digest.js';
import { READ_CHUNK_BYTES } from '#src/image/limits.js';
import type { BlobToIngest } from '#src/storage/blob-bytes.js';
import { type Disk, nodeDisk } from '#src/storage/disk.js';
import { ingestBlob } from '#src/storage/into-store.js';
import type { Ingested } from '#src/storage/stored.js';
import { type DiskOperation, interfereWith, systemError } from '../support/faulty-disk.js';
import { sha256 } from '../support/make-image.js';
import { refusal } from '../support/refusal.js';
import { IngestFixture, withoutClones } from './ingest-fixture.js';

/** More than one read, and more than one write. */
const STEP = 2 * READ_CHUNK_BYTES;

describe('a blob longer than one read', () => {
  const given = new IngestFixture();

  /** As long as is said, and no number of blocks, pages or steps but where it is said. */
  const blobOf = (size: number, ingest: 'auto' | 'copy' = 'copy'): BlobToIngest => {
    const bytes = Buffer.alloc(size, 'abcdefg');
    writeFileSync(given.file, bytes);
    return { ...given.blob, digest: sha256(bytes) as Digest, size, ingest };
  };
  const isTidy = () => readdirSync(dirname(given.blob.temporary)).length === 0;

  const ingest = (blob: BlobToIngest, disk: Disk = withoutClones): Ingested =>
    ingestBlob(disk, blob);

  for (const [what, size] of Object.entries({
    'a byte less than a step': STEP - 1,
    'a step': STEP,
    'steps and a byte': 2 * STEP + 1,
    'no bytes': 0,
  })) {
    it(`stores a blob of ${what}, read-only`, () => {
      const blob = blobOf(size);
      expect(ingest(blob)).to.equal('copied');
      expect(readFileSync(blob.destination).equals(readFileSync(given.file))).to.equal(true);
      expect(statSync(blob.destination).mode & 0o7777).to.equal(0o444);
      expect(isTidy()).to.equal(true);
    });
  }

  it('stores a complete blob when writes are short', () => {
    const disk: Disk = {
      ...withoutClones,
      write: (fd, from, offset, position) =>
        nodeDisk.write(fd, from.subarray(0, offset + 70_001), offset, position),
    };
    const blob = blobOf(STEP + 1);
    expect(ingest(blob, disk)).to.equal('copied');
    expect(readFileSync(blob.destination).equals(readFileSync(given.file))).to.equal(true);
  });

  it('syncs the blob before the rename, and the directory after it', () => {
    const verbs: string[] = [];
    ingest(
      blobOf(STEP + 1),
      interfereWith(withoutClones, ({ verb }) => verbs.push(verb)),
    );
    const named = verbs.lastIndexOf('rename');
    const written = verbs.lastIndexOf('write');
    expect(verbs.slice(written, named)).to.include('sync');
    expect(verbs.slice(named)).to.include('sync');
  });

  it('rejects a file that grows or shrinks during the copy', () => {
    for (const change of [
      () => appendFileSync(given.file, '!'),
      () => truncateSync(given.file, STEP + 1),
    ]) {
      let reads = 0;
      const disk = interfereWith(withoutClones, ({ verb }) => {
        if (verb === 'read' && ++reads === 3) change();
      });
      const error = refusal(() => ingest(blobOf(2 * STEP), disk));
      expect(error.code).to.equal('size.mismatch');
      expect(existsSync(given.blob.destination)).to.equal(false);
      expect(isTidy()).to.equal(true);
    }
  });

  it('leaves no files and no name after any failure, and the next attempt stores it', () => {
    for (const way of ['auto', 'copy'] as const) {
      for (const code of ['EIO', 'ENOSPC']) sweep(way, code);
    }
  });

  function sweep(way: 'auto' | 'copy', code: string): void {
    forget();
    // The directories of the store are there from then on.
    ingest(blobOf(STEP + 1, way));
    forget();
    const again = blobOf(STEP + 1, way);
    const count = operationsOf((disk) => ingest(again, disk)).length;
    expect(count).to.be.greaterThan(15);
    for (let at = 1; at <= count; at++) {
      forget();
      const blob = blobOf(STEP + 1, way);
      chmodSync(given.file, 0o644);
      const failed = { verb: '' };
      const disk = interfereWith(withoutClones, (operation) => {
        if (operation.number !== at) return;
        failed.verb = operation.verb;
        throw systemError(code, operation);
      });
      let error: unknown;
      try {
        ingest(blob, disk);
      } catch (caught) {
        error = caught;
      }
      const what = `${way}, ${code}, operation ${at} (${failed.verb})`;
      expect(error, what).to.include({ code });
      // The name may be there when the sync of its directory failed, and then it is whole.
      if (existsSync(blob.destination)) expect(statSync(blob.destination).size).to.equal(blob.size);
      if (failed.verb !== 'unlink') expect(isTidy(), what).to.equal(true);
      ingest(blob);
      expect(sha256(readFileSync(blob.destination)), what).to.equal(blob.digest);
    }
  }

  function operationsOf(run: (disk: Disk) => unknown): DiskOperation[] {
    const operations: DiskOperation[] = [];
    run(interfereWith(withoutClones, (operation) => operations.push(operation)));
    return operations;
  }

  /** As if it had never been there. */
  function forget(): void {
    for (const path of [given.blob.destination, given.blob.temporary, given.file]) {
      if (existsSync(path)) nodeDisk.unlink(path);
    }
  }
});
