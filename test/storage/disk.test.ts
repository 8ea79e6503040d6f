import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { nodeDisk } from '#src/storage/disk.js';
import { digestOfFile } from '#src/storage/hash-file.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';

describe('nodeDisk', () => {
  let root: string;
  const at = (name: string) => join(root, name);

  beforeEach(() => {
    root = tempDir();
    writeFileSync(at('file'), 'text');
    symlinkSync('file', at('link'));
    mkdirSync(at('directory'));
  });
  afterEach(removeTempDirs);

  it('returns the type of every entry without following links', () => {
    const kinds = Object.fromEntries(nodeDisk.list(root).map(({ name, kind }) => [name, kind]));
    expect(kinds).to.deep.equal({ file: 'file', link: 'symlink', directory: 'directory' });
    for (const [name, kind] of Object.entries(kinds)) {
      expect(nodeDisk.stat(at(name)).kind, name).to.equal(kind);
    }
    expect(nodeDisk.stat('/dev/null').kind).to.equal('other');
  });

  for (const mode of ['read', 'update', 'create', 'directory'] as const) {
    it(`never opens a link to ${mode}`, () => {
      expect(() => nodeDisk.open(at('link'), mode)).to.throw(/ELOOP|EEXIST|ENOTDIR/);
    });
  }

  it('refuses to create a file that exists', () => {
    expect(() => nodeDisk.open(at('file'), 'create')).to.throw('EEXIST');
  });

  it('writes a range of a buffer at a position in the file', () => {
    const fd = nodeDisk.open(at('file'), 'update');
    expect(nodeDisk.write(fd, Buffer.from('abcd'), 2, 1)).to.equal(2);
    nodeDisk.close(fd);
    expect(readFileSync(at('file'), 'utf8')).to.equal('tcdt');
  });

  it('does not clone over an existing file', () => {
    expect(() => nodeDisk.clone(at('file'), at('directory'))).to.throw();
    writeFileSync(at('other'), 'kept');
    expect(() => nodeDisk.clone(at('file'), at('other'))).to.throw();
    expect(readFileSync(at('other'), 'utf8')).to.equal('kept');
    expect(statSync(at('other')).size).to.equal(4);
  });
});

describe('digestOfFile', () => {
  afterEach(removeTempDirs);

  for (const algorithm of ['sha256', 'sha512'] as const) {
    it(`is the ${algorithm} of all bytes of a file longer than one read`, () => {
      const path = join(tempDir(), 'file');
      const bytes = Buffer.alloc(2_500_000, 'abcdefg');
      writeFileSync(path, bytes);
      const hex = createHash(algorithm).update(bytes).digest('hex');
      expect(digestOfFile(nodeDisk, path, algorithm)).to.equal(`${algorithm}:${hex}`);
    });
  }
});
