import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { filesystemNow, timeOfNew } from '#src/inbox/filesystem-time.js';
import { inOwn } from '#src/inbox/own-directory.js';
import { type Disk, nodeDisk, type Stat } from '#src/storage/disk.js';
import { interfereWith, systemError } from '../support/faulty-disk.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';

describe("the filesystem's time", () => {
  let own: string;
  let verbs: string[];

  beforeEach(() => {
    own = join(tempDir(), '.claimed');
    mkdirSync(own, 0o700);
  });
  afterEach(removeTempDirs);

  /** @returns the time, and whether a file was made for it */
  const ask = (disk: Disk = nodeDisk) => {
    verbs = [];
    const watched = interfereWith(disk, ({ verb }) => verbs.push(verb));
    const ms = inOwn(watched, own, (opened) =>
      filesystemNow(watched, opened, { directory: own, name: '.clock' }),
    );
    expect(readdirSync(own)).to.deep.equal([]);
    return { ms, isMade: verbs.includes('unlink') };
  };
  const realNow = () => timeOfNew(nodeDisk, join(own, '.other'));

  it('is read from a new file once, then from a touched directory', () => {
    const before = realNow();
    const first = ask();
    const second = ask();
    const after = realNow();
    expect([first.isMade, second.isMade]).to.deep.equal([true, false]);
    expect(first.ms).to.be.within(before, after);
    expect(second.ms).to.be.within(first.ms, after);
    expect(nodeDisk.stat(own).mode).to.equal(0o700);
  });

  it('is read from a new file again after 10 s', () => {
    const real = performance.now;
    ask();
    try {
      performance.now = () => real.call(performance) + 9000;
      expect(ask().isMade).to.equal(false);
      performance.now = () => real.call(performance) + 11_000;
      expect(ask().isMade).to.equal(true);
    } finally {
      performance.now = real;
    }
  });

  it('is always read from a new file when the directory belongs to another user', () => {
    const theirs = interfereWith(nodeDisk, (operation) => {
      if (operation.verb === 'setMode') throw systemError('EPERM', operation);
    });
    for (let time = 0; time < 3; time++) {
      const before = realNow();
      const { ms, isMade } = ask(theirs);
      expect(isMade).to.equal(true);
      expect(ms).to.be.within(before, realNow());
    }
  });

  for (const [what, off] of [
    ['stands still, as where a touch changes nothing', Number.NaN],
    ['is this host’s, which is an hour ahead', 3_600_000],
    ['is this host’s, which is an hour behind', -3_600_000],
  ] as const) {
    it(`is always read from a new file when a directory’s time ${what}`, () => {
      const wrong = (stat: Stat): Stat =>
        stat.kind === 'directory'
          ? { ...stat, ctimeMs: Number.isNaN(off) ? 1 : stat.ctimeMs + off }
          : stat;
      const disk: Disk = { ...nodeDisk, statOpen: (fd) => wrong(nodeDisk.statOpen(fd)) };
      for (let time = 0; time < 3; time++) {
        const before = realNow();
        const { ms, isMade } = ask(disk);
        expect(isMade).to.equal(true);
        expect(ms).to.be.within(before, realNow());
      }
    });
  }
});
