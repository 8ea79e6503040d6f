import { mkdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { InboxWatch } from '#src/inbox/watch.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { waitFor } from '../support/wait-for.js';

describe('InboxWatch', () => {
  let inbox: string;
  let hints: string[];
  let watch: InboxWatch;

  beforeEach(() => {
    inbox = tempDir();
    mkdirSync(join(inbox, 'team'));
    hints = [];
    watch = new InboxWatch(
      inbox,
      ({ directory }) => hints.push(directory),
      (error) => {
        throw error;
      },
    );
  });
  afterEach(async () => {
    await watch.close();
    removeTempDirs();
  });

  /** A watch is made some time after it was asked for: something happens until it is seen. */
  const hinted = (directory: string) => {
    let times = 0;
    return waitFor(`a hint in "${directory}"`, () => {
      const path = join(inbox, directory, `made-${++times}`);
      mkdirSync(path);
      rmdirSync(path);
      return hints.includes(directory);
    });
  };

  it('hints at what happens in the directories it follows', async () => {
    expect(watch.follow(['', 'team'])).to.equal(true);
    await hinted('');
    await hinted('team');
  });

  it('says whether it was given anything new to follow', () => {
    expect(watch.follow([''])).to.equal(true);
    expect(watch.follow([''])).to.equal(false);
    expect(watch.follow(['', 'team'])).to.equal(true);
  });

  it('is silent about what lies in a directory it does not follow', async () => {
    watch.follow(['']);
    await hinted('');
    writeFileSync(join(inbox, 'team', 'blob'), '');
    hints = [];
    // Whatever the kernel had to tell of the file came before what happens now.
    await hinted('');
    expect(hints).not.to.include('team');
  });
});
