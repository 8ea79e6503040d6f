import { execFileSync } from 'node:child_process';
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { nodeDisk } from '#src/storage/disk.js';
import { readOpenFile } from '#src/storage/durable.js';
import { InsideDirectory } from '#src/storage/inside-directory.js';
import { refusal } from '../support/refusal.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';

describe('InsideDirectory', () => {
  let root: string;

  beforeEach(() => {
    root = tempDir();
    mkdirSync(join(root, 'a', 'b'), { recursive: true });
    writeFileSync(join(root, 'a', 'b', 'file'), 'inside');
    writeFileSync(join(root, 'top'), 'top');
  });
  afterEach(removeTempDirs);

  const use = <T>(work: (inside: InsideDirectory) => T) =>
    InsideDirectory.use(nodeDisk, root, work);
  const read = (inside: InsideDirectory, path: string) => {
    const file = inside.open(path);
    if (file === undefined) return undefined;
    try {
      return readOpenFile(nodeDisk, file, path, 1000).toString();
    } finally {
      nodeDisk.close(file.fd);
    }
  };

  it('opens files at any depth', () => {
    expect(use((inside) => [read(inside, 'top'), read(inside, 'a/b/file')])).to.deep.equal([
      'top',
      'inside',
    ]);
  });

  it('lists and describes existing entries, and returns undefined for missing ones', () => {
    use((inside) => {
      expect(
        inside
          .list('')
          ?.map(({ name }) => name)
          .sort(),
      ).to.deep.equal(['a', 'top']);
      expect(inside.list('a')).to.deep.equal([{ name: 'b', kind: 'directory' }]);
      expect(inside.stat('a/b/file')?.size).to.equal(6);
      expect(inside.stat('a/none')).to.equal(undefined);
      expect(inside.open('none/at/all')).to.equal(undefined);
      expect(inside.list('none')).to.equal(undefined);
    });
  });

  const links: readonly [string, () => void, string][] = [
    ['at the end', () => symlinkSync('/etc/hostname', join(root, 'a', 'link')), 'a/link'],
    ['to a file inside', () => symlinkSync('b/file', join(root, 'a', 'link')), 'a/link'],
    ['along the path', () => symlinkSync('/etc', join(root, 'away')), 'away/hostname'],
    ['along the path, inside', () => symlinkSync('a', join(root, 'away')), 'away/b/file'],
    ['to itself', () => symlinkSync('link', join(root, 'a', 'link')), 'a/link'],
  ];
  for (const [where, make, path] of links) {
    it(`refuses to open through a link ${where}: path.outside`, () => {
      make();
      const { code, details } = refusal(() => use((inside) => inside.open(path)));
      expect(code).to.equal('path.outside');
      expect(details.path).to.equal(path);
    });
  }

  it('rejects a file where a directory should be: path.outside', () => {
    expect(refusal(() => use((inside) => inside.open('top/file'))).code).to.equal('path.outside');
  });

  it('rejects a directory where a file should be: file.type', () => {
    expect(refusal(() => use((inside) => inside.open('a'))).code).to.equal('file.type');
  });

  it('rejects a FIFO: file.type', () => {
    execFileSync('mkfifo', [join(root, 'fifo')]);
    expect(inside('fifo').kind).to.equal('other');
    expect(refusal(() => use((each) => each.open('fifo', 'update'))).code).to.equal('file.type');
  });

  const inside = (path: string) => ({ kind: use((each) => each.stat(path))?.kind });

  it('stays in a directory that was moved and replaced by a link', () => {
    const away = tempDir();
    writeFileSync(join(away, 'file'), 'outside');
    use((each) => {
      expect(read(each, 'a/b/file')).to.equal('inside');
      renameSync(join(root, 'a'), join(tempDir(), 'moved'));
      mkdirSync(join(root, 'a'));
      symlinkSync(away, join(root, 'a', 'b'));
      expect(read(each, 'a/b/file')).to.equal('inside');
    });
    expect(refusal(() => use((each) => each.open('a/b/file'))).code).to.equal('path.outside');
  });

  it('links a file inside to a name outside', () => {
    const to = join(tempDir(), 'linked');
    use((each) => each.linkTo('a/b/file', to));
    expect(readFileSync(to, 'utf8')).to.equal('inside');
  });

  it('closes all files it opened, also after a failure', () => {
    const open = () => readdirSync('/proc/self/fd').length;
    const earlier = open();
    const fail = () =>
      use((each) => {
        each.stat('a/b/file');
        refusal(() => each.open('a/b'));
        throw new Error('on purpose');
      });
    expect(fail).to.throw('on purpose');
    expect(open()).to.equal(earlier);
  });
});
