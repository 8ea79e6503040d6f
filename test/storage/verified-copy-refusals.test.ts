import {
  appendFileSync,
  existsSync,
  readdirSync,
  renameSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { expect } from 'chai';
import type { Disk } from '#src/storage/disk.js';
import { interfereWith, systemError } from '../support/faulty-disk.js';
import { refusal } from '../support/refusal.js';
import { IngestFixture, justBefore, TEXT, withoutClones } from './ingest-fixture.js';

describe('ingestBlob', () => {
  const given = new IngestFixture();

  describe('rejects, and leaves nothing behind', () => {
    const other = TEXT.replace('layer', 'LAYER');
    const cases: readonly [string, string, () => Disk | undefined][] = [
      ['digest.mismatch', 'other bytes', () => void writeFileSync(given.file, other)],
      ['size.mismatch', 'a file that is too long', () => void appendFileSync(given.file, '!')],
      ['size.mismatch', 'a file that is too short', () => void truncateSync(given.file, 3)],
      [
        'size.mismatch',
        'a file that grows',
        () => justBefore('read', () => appendFileSync(given.file, '!')),
      ],
      [
        'size.mismatch',
        'a file that shrinks',
        () => justBefore('read', () => truncateSync(given.file, 3)),
      ],
      [
        'content.missing',
        'a file that is gone',
        () => void renameSync(given.file, `${given.file}-gone`),
      ],
      [
        'path.outside',
        'a link',
        () => {
          renameSync(given.file, `${given.file}-real`);
          symlinkSync(`${given.file}-real`, given.file);
          return undefined;
        },
      ],
    ];
    for (const way of ['auto', 'copy'] as const) {
      for (const [code, what, arrange] of cases) {
        it(`${what} (ingest: ${way}): ${code}`, () => {
          const disk = arrange() ?? withoutClones;
          const error = refusal(() => given.ingest({ ingest: way }, disk));
          expect(error.code).to.equal(code);
          expect(error.details.path).to.equal('layer');
          expect(existsSync(given.blob.destination)).to.equal(false);
          expect(readdirSync(dirname(given.blob.temporary))).to.deep.equal([]);
        });
      }
    }

    it('and keeps the permissions of the rejected file', () => {
      writeFileSync(given.file, other);
      refusal(() => given.ingest());
      expect(statSync(given.file).mode & 0o7777).to.equal(0o644);
      expect(statSync(given.file).nlink).to.equal(1);
    });

    it('on a full disk: returns the disk error and leaves nothing behind', () => {
      const disk = interfereWith(withoutClones, (operation) => {
        if (operation.verb === 'write') throw systemError('ENOSPC', operation);
      });
      expect(() => given.ingest({ ingest: 'copy' }, disk)).to.throw('ENOSPC');
      expect(readdirSync(dirname(given.blob.temporary))).to.deep.equal([]);
      expect(existsSync(given.blob.destination)).to.equal(false);
    });
  });
});
