import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { noteCommand, takeCommandNotes } from '#src/storage/command-notes.js';
import { nodeDisk } from '#src/storage/disk.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';

describe('the notes of commands', () => {
  let root: string;
  const roots = () => ({ published: join(root, 'published'), state: join(root, 'state') });
  const directory = () => join(root, 'state/commands');
  const note = (snapshot: string) => {
    const about = { command: 'untag', repository: 'app', by: 'ann', snapshot, tags: 'removed 1' };
    noteCommand(nodeDisk, { roots: roots(), owner: 'p1x1', note: about });
    return about;
  };
  const take = () => takeCommandNotes(nodeDisk, { roots: roots() });

  beforeEach(() => {
    root = tempDir();
    mkdirSync(join(root, 'state'));
  });
  afterEach(removeTempDirs);

  it('are taken once, oldest first', () => {
    expect(take()).to.deep.equal([]);
    const later = note('20261102T000000.000Z');
    const first = note('20261101T000000.000Z');
    expect(take()).to.deep.equal([first, later]);
    expect(take()).to.deep.equal([]);
  });

  it('are left alone while they are written, and skipped when damaged', () => {
    const good = note('20261101T000000.000Z');
    writeFileSync(join(directory(), '20261101T000001.000Z-p2x2'), '{"comm');
    writeFileSync(join(directory(), '20261101T000002.000Z-p2x2.json'), '{"comm');
    expect(take()).to.deep.equal([good]);
    expect(readdirSync(directory())).to.deep.equal(['20261101T000001.000Z-p2x2']);
  });

  it('do not fill the disk where no daemon runs', () => {
    mkdirSync(directory());
    for (let n = 0; n < 1000; n++) writeFileSync(join(directory(), `${n}.json`), '{}');
    note('20261101T000000.000Z');
    expect(readdirSync(directory())).to.have.length(1000);
  });
});
