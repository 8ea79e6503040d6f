import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { TestContent } from '../support/make-image.js';
import { refusal } from '../support/refusal.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { readDrop } from './drop-fixture.js';
import { describeReader } from './reader-suite.js';

const hexOf = (digest: string) => digest.slice('sha256:'.length);

describe('skopeo dir:', () => {
  describeReader({
    entry: 'manifest.json',
    write: (path, content, image) => content.writeSkopeoDir(path, image),
    blob: hexOf,
    manifest: (digest) => `${hexOf(digest)}.manifest.json`,
  });
});

describe('a skopeo dir: directory', () => {
  let path: string;
  let content: TestContent;

  beforeEach(() => {
    path = join(tempDir(), 'drop');
    content = new TestContent();
    content.writeSkopeoDir(path, content.image());
  });
  afterEach(removeTempDirs);

  it('has no tag', () => {
    expect(readDrop(path).content.roots.map(({ tags }) => tags)).to.deep.equal([[]]);
  });

  it('reports its signature files, which are not published', () => {
    writeFileSync(join(path, 'signature-1'), 'sigstore');
    const { leftOut } = readDrop(path).content;
    expect(leftOut.map(({ what, isHeld }) => [what, isHeld])).to.deep.equal([
      ['signature-1', true],
    ]);
  });

  it('accepts any 1.x version', () => {
    writeFileSync(join(path, 'version'), 'Directory Transport Version: 1.9\n');
    expect(readDrop(path, '1.0').missing).to.deep.equal([]);
  });

  it('is rejected with an unknown version: format.unknown', () => {
    writeFileSync(join(path, 'version'), 'Directory Transport Version: 2.0\n');
    expect(refusal(() => readDrop(path)).code).to.equal('format.unknown');
  });

  for (const [what, spoil] of [
    ['missing', (name: string) => rmSync(name)],
    ['empty', (name: string) => writeFileSync(name, '')],
  ] as const) {
    it(`is incomplete while its version file is ${what}`, () => {
      spoil(join(path, 'version'));
      expect(readDrop(path).missing.map((entry) => entry.path)).to.deep.equal(['version']);
    });
  }
});
