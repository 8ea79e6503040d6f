import { createHash } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  linkSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import type { Digest } from '#src/image/digest.js';
import type { BlobToIngest } from '#src/storage/blob-bytes.js';
import { type Disk, nodeDisk } from '#src/storage/disk.js';
import { interfereWith, systemError } from '../support/faulty-disk.js';
import { sha256 } from '../support/make-image.js';
import { refusal } from '../support/refusal.js';
import { tempDir } from '../support/temp-dir.js';
import { waitFor } from '../support/wait-for.js';
import { IngestFixture, justBefore, TEXT, withoutClones } from './ingest-fixture.js';

describe('ingestBlob', () => {
  const given = new IngestFixture();

  describe('links', () => {
    it('a file that no other user can write, and makes it read-only', () => {
      expect(given.ingest()).to.equal('linked');
      expect(statSync(given.blob.destination).ino).to.equal(statSync(given.file).ino);
      expect(statSync(given.blob.destination).mode & 0o7777).to.equal(0o444);
      expect(existsSync(given.blob.temporary)).to.equal(false);
    });

    it('a file read in pieces (a network), and stops reading when it is complete', () => {
      const asked: number[] = [];
      const read: Disk['read'] = (fd, into, length, position) => {
        asked.push(position);
        return nodeDisk.read(fd, into, Math.min(length, 7), position);
      };
      const disk = { ...nodeDisk, clone: withoutClones.clone, read };
      expect(given.ingest({}, disk)).to.equal('linked');
      expect(asked).to.deep.equal([0, 7, 14]);
    });

    it('and syncs the file before its rename, and the directory after it', () => {
      const verbs: string[] = [];
      const disk = interfereWith(withoutClones, ({ verb }) => verbs.push(verb));
      given.ingest({}, disk);
      const named = verbs.lastIndexOf('rename');
      expect(verbs.slice(0, named).lastIndexOf('sync')).to.be.greaterThan(verbs.indexOf('link'));
      expect(verbs.slice(named)).to.include('sync');
    });
  });

  describe('copies', () => {
    const reasons: readonly [string, () => Partial<BlobToIngest>][] = [
      ['where the settings say so', () => ({ ingest: 'copy' })],
      ['a file of another user', () => ({ uid: given.blob.uid + 1 })],
      [
        'a file that its group may write',
        () => {
          chmodSync(given.file, 0o664);
          return {};
        },
      ],
      [
        'a file that everybody may write',
        () => {
          chmodSync(given.file, 0o646);
          return {};
        },
      ],
      [
        'a file with another name',
        () => {
          linkSync(given.file, join(given.blob.root, 'other'));
          return {};
        },
      ],
    ];
    for (const [what, arrange] of reasons) {
      it(what, () => {
        expect(given.ingest(arrange())).to.equal('copied');
        expect(given.stored()).to.equal(TEXT);
        expect(statSync(given.blob.destination).ino).not.to.equal(statSync(given.file).ino);
        expect(statSync(given.blob.destination).mode & 0o7777).to.equal(0o444);
        expect(existsSync(given.blob.temporary)).to.equal(false);
      });
    }

    it('a file that belongs to another user', function () {
      if (process.getuid?.() !== 0) return this.skip();
      chownSync(given.file, 1234, 1234);
      expect(given.ingest()).to.equal('copied');
      expect(statSync(given.blob.destination).uid).to.equal(0);
    });

    for (const code of ['EXDEV', 'EPERM', 'EMLINK']) {
      it(`when the filesystem refuses a link with ${code}`, () => {
        const disk = interfereWith(withoutClones, (operation) => {
          if (operation.verb === 'link') throw systemError(code, operation);
        });
        expect(given.ingest({}, disk)).to.equal('copied');
        expect(given.stored()).to.equal(TEXT);
      });
    }

    it('the file it opened when another is moved in its place before the link', () => {
      const other = join(tempDir(), 'other');
      writeFileSync(other, 'swapped');
      const disk = justBefore('link', () => renameSync(other, given.file));
      expect(given.ingest({}, disk)).to.equal('copied');
      expect(given.stored()).to.equal(TEXT);
    });

    it('a complete blob longer than one read, with short writes', () => {
      const long = Buffer.alloc(2_500_000, 'abcdefg');
      writeFileSync(given.file, long);
      const disk: Disk = {
        ...withoutClones,
        write: (fd, from, offset, position) =>
          nodeDisk.write(
            fd,
            from.subarray(0, Math.min(from.length, offset + 70_000)),
            offset,
            position,
          ),
      };
      const change = { digest: sha256(long) as Digest, size: long.length, ingest: 'copy' as const };
      expect(given.ingest(change, disk)).to.equal('copied');
      expect(readFileSync(given.blob.destination).equals(long)).to.equal(true);
    });

    it('an empty blob, and one named by sha512', () => {
      writeFileSync(given.file, '');
      const digest = `sha512:${createHash('sha512').digest('hex')}` as Digest;
      expect(given.ingest({ digest, size: 0, ingest: 'copy' })).to.equal('copied');
      expect(statSync(given.blob.destination).size).to.equal(0);
    });
  });

  describe('clones if the filesystem supports it', () => {
    // A device number of its own, for a filesystem that cannot is remembered.
    const cloning = (clone: Disk['clone'], dev: number): Disk => ({
      ...nodeDisk,
      statOpen: (fd) => ({ ...nodeDisk.statOpen(fd), dev }),
      clone,
    });

    it('and verifies the bytes of the clone', () => {
      const disk = cloning((from, to) => copyFileSync(from, to), 1_000_001);
      expect(given.ingest({ ingest: 'copy' }, disk)).to.equal('cloned');
      expect(given.stored()).to.equal(TEXT);
      expect(statSync(given.blob.destination).mode & 0o7777).to.equal(0o444);
    });

    it('and needs no write permission on the clone, which may be read-only like its source', () => {
      const modes: string[] = [];
      const disk: Disk = {
        ...cloning((from, to) => copyFileSync(from, to), 1_000_004),
        open: (path, mode) => {
          modes.push(mode);
          return nodeDisk.open(path, mode);
        },
      };
      expect(given.ingest({ ingest: 'copy' }, disk)).to.equal('cloned');
      expect(modes).not.to.include('update');
    });

    it('and rejects a clone taken while the file was being changed', () => {
      const other = TEXT.replace('bytes', 'BYTES');
      const disk = cloning((_from, to) => writeFileSync(to, other), 1_000_002);
      expect(refusal(() => given.ingest({ ingest: 'copy' }, disk)).code).to.equal(
        'digest.mismatch',
      );
      expect(existsSync(given.blob.temporary)).to.equal(false);
    });

    it('and tries an unsupported clone only once', () => {
      let asked = 0;
      const refuse = (): never => {
        asked++;
        throw Object.assign(new Error('no'), { code: 'EOPNOTSUPP', syscall: 'copyfile' });
      };
      const disk = cloning(refuse, 1_000_003);
      expect(given.ingest({ ingest: 'copy' }, disk)).to.equal('copied');
      const destination = `${given.blob.destination}0`;
      expect(given.ingest({ ingest: 'copy', destination }, disk)).to.equal('copied');
      expect(asked).to.equal(1);
    });
  });

  describe('a blob already in the store', () => {
    it('is kept once the drop has proved that it holds the bytes', () => {
      given.store(TEXT);
      const { ino } = statSync(given.blob.destination);
      expect(given.ingest()).to.equal('present');
      expect(statSync(given.blob.destination).ino).to.equal(ino);
    });

    it('is marked as used again, as the sweep uses the change time', async () => {
      given.store(TEXT);
      const { ctimeMs } = statSync(given.blob.destination);
      await waitFor('a newer change time', () => {
        given.ingest();
        return statSync(given.blob.destination).ctimeMs > ctimeMs;
      });
    });

    it('is not used for a drop that names its digest and has other bytes (I8)', () => {
      given.store(TEXT);
      writeFileSync(given.file, TEXT.toUpperCase());
      const { code, details } = refusal(() => given.ingest());
      expect(code).to.equal('digest.mismatch');
      expect(details).to.include({ path: 'layer', digest: given.blob.digest });
      expect(given.stored()).to.equal(TEXT);
    });

    it('is replaced when its length shows that it is damaged', () => {
      given.store('torn');
      expect(given.ingest()).to.equal('linked');
      expect(given.stored()).to.equal(TEXT);
    });
  });

  it('overwrites temporary files left by an earlier attempt', () => {
    writeFileSync(given.blob.temporary, 'left behind');
    expect(given.ingest({ ingest: 'copy' })).to.equal('copied');
    expect(given.stored()).to.equal(TEXT);
  });
});
