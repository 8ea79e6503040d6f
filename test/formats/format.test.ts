import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { recogniseDirectory } from '#src/formats/format.js';
import type { Entry } from '#src/storage/disk.js';
import { refusal } from '../support/refusal.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { readDrop } from './drop-fixture.js';

describe('recogniseDirectory', () => {
  const files = (...names: string[]): Entry[] => names.map((name) => ({ name, kind: 'file' }));
  const cases: readonly [string, Entry[], string | undefined][] = [
    ['a finished layout', files('oci-layout', 'index.json'), 'oci-layout'],
    ['a layout that starts with its index', files('index.json'), 'oci-layout'],
    ['a layout that starts with its oci-layout', files('oci-layout'), 'oci-layout'],
    ['the output of docker save since 25', files('index.json', 'manifest.json'), 'oci-layout'],
    ['a finished dir:', files('version', 'manifest.json'), 'skopeo-dir'],
    ['a dir: that starts with its version', files('version'), 'skopeo-dir'],
    ['an empty directory', [], undefined],
    ['strangers', files('README.md', 'index.html'), undefined],
    ['directories of those names', [{ name: 'index.json', kind: 'directory' }], undefined],
    ['links of those names', [{ name: 'oci-layout', kind: 'symlink' }], undefined],
  ];
  for (const [what, entries, format] of cases) {
    it(`recognises ${what} as ${format ?? 'no image'}`, () => {
      expect(recogniseDirectory(entries)).to.equal(format);
    });
  }
});

describe('readDirectoryDrop', () => {
  afterEach(removeTempDirs);

  it('rejects a directory without an image: format.unknown', () => {
    const path = join(tempDir(), 'index.json');
    mkdirSync(path);
    writeFileSync(join(path, 'README.md'), 'text');
    expect(refusal(() => readDrop(path)).code).to.equal('format.unknown');
  });
});
