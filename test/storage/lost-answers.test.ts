/** Calls that a server carried out and whose answer was lost; what is said then is not the truth. */
import fs from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { nodeDisk } from '#src/storage/disk.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';

type Call = 'renameSync' | 'linkSync' | 'symlinkSync';
const original = { ...fs };

/** The call does `first`, and then says this. */
function answers(call: Call, code: string, first: (...given: never[]) => void): void {
  fs[call] = ((...given: never[]) => {
    first(...given);
    throw Object.assign(new Error(code), { code });
  }) as never;
}

describe('an answer that was lost', () => {
  let root: string;
  let from: string;
  let to: string;

  beforeEach(() => {
    root = tempDir();
    [from, to] = [join(root, 'from'), join(root, 'to')];
    fs.writeFileSync(from, 'mine');
  });
  afterEach(() => {
    for (const call of ['renameSync', 'linkSync', 'symlinkSync'] as const) {
      fs[call] = original[call] as never;
    }
    removeTempDirs();
  });

  for (const code of ['ENOENT', 'ESTALE', 'EIO']) {
    it(`does not make a rename that took place fail (${code})`, () => {
      answers('renameSync', code, original.renameSync);
      nodeDisk.rename(from, to);
      expect(fs.readFileSync(to, 'utf8')).to.equal('mine');
    });
  }

  it('is told from a rename that did not take place', () => {
    answers('renameSync', 'EIO', () => {});
    expect(() => nodeDisk.rename(from, to)).to.throw('EIO');
    fs.writeFileSync(to, 'another');
    expect(() => nodeDisk.rename(from, to)).to.throw('EIO');
  });

  it('is told from one that lost: somebody else took the file, and another one lies there', () => {
    answers('renameSync', 'ENOENT', () => {
      original.renameSync(from, join(root, 'taken'));
      fs.writeFileSync(to, 'another');
    });
    expect(() => nodeDisk.rename(from, to)).to.throw('ENOENT');
    expect(() => nodeDisk.rename(join(root, 'never'), to)).to.throw('ENOENT');
  });

  it('does not make a link or a symbolic link that was made fail, and another’s does', () => {
    answers('linkSync', 'EEXIST', original.linkSync);
    nodeDisk.link(from, to);
    expect(fs.statSync(to).ino).to.equal(fs.statSync(from).ino);
    fs.writeFileSync(join(root, 'other'), 'another');
    answers('linkSync', 'EEXIST', () => {});
    expect(() => nodeDisk.link(from, join(root, 'other'))).to.throw('EEXIST');
    answers('symlinkSync', 'EEXIST', original.symlinkSync);
    nodeDisk.symlink('target', join(root, 'sym'));
    answers('symlinkSync', 'EEXIST', () => {});
    expect(() => nodeDisk.symlink('elsewhere', join(root, 'sym'))).to.throw('EEXIST');
  });
});
