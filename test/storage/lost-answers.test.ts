/** Calls that a file server executed but whose response was lost, so that the returned error is wrong. */
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

describe('a lost response of the file server', () => {
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
    it(`does not turn a successful rename into a failure (${code})`, () => {
      answers('renameSync', code, original.renameSync);
      nodeDisk.rename(from, to);
      expect(fs.readFileSync(to, 'utf8')).to.equal('mine');
    });
  }

  it('is distinguished from a rename that did not happen', () => {
    answers('renameSync', 'EIO', () => {});
    expect(() => nodeDisk.rename(from, to)).to.throw('EIO');
    fs.writeFileSync(to, 'another');
    expect(() => nodeDisk.rename(from, to)).to.throw('EIO');
  });

  it('is distinguished from a lost race: another process moved the file, and a new one exists', () => {
    answers('renameSync', 'ENOENT', () => {
      original.renameSync(from, join(root, 'taken'));
      fs.writeFileSync(to, 'another');
    });
    expect(() => nodeDisk.rename(from, to)).to.throw('ENOENT');
    expect(() => nodeDisk.rename(join(root, 'never'), to)).to.throw('ENOENT');
  });

  it('does not turn a successful link or symlink into a failure, unless another made it', () => {
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
