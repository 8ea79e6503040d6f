import { chmodSync, mkdirSync, promises, rmdirSync, writeFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
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
    watch.follow(['', 'team'], 0);
    await hinted('');
    await hinted('team');
  });

  it('looks at none of the entries, however many there are', async () => {
    for (let n = 0; n < 50; n++) mkdirSync(join(inbox, `drop-${n}`));
    const { lstat } = promises;
    const looked: string[] = [];
    promises.lstat = ((path: string) => {
      looked.push(path);
      return lstat(path);
    }) as typeof lstat;
    syncBuiltinESMExports();
    try {
      watch.follow([''], 0);
      await hinted('');
      hints.length = 0;
      await hinted('');
      expect(looked.filter((path) => path.includes('drop-'))).to.deep.equal([]);
    } finally {
      promises.lstat = lstat;
      syncBuiltinESMExports();
    }
  });

  it('has a new watch looked after again and again, as what happens before it is there is lost', () => {
    expect(watch.follow([''], 1000)).to.equal(20);
    expect(watch.follow([''], 1100)).to.equal(100);
    expect(watch.follow([''], 11_001)).to.equal(Number.POSITIVE_INFINITY);
    expect(watch.follow(['', 'team'], 12_000)).to.equal(20);
  });

  it('is silent about names that no drop has: our own, and those of files on their way', async () => {
    mkdirSync(join(inbox, 'end'));
    watch.follow(['', 'team'], 0);
    await hinted('');
    await hinted('team');
    hints = [];
    mkdirSync(join(inbox, '.claimed'));
    chmodSync(join(inbox, '.claimed'), 0o700);
    writeFileSync(join(inbox, '.drop.tar.Xy12'), 'text');
    // What is told of this comes after what would be told of those.
    watch.follow(['', 'team', 'end'], 0);
    await hinted('end');
    expect(hints).not.to.include('');
  });

  it('is silent about what lies in a directory it does not follow', async () => {
    watch.follow([''], 0);
    await hinted('');
    writeFileSync(join(inbox, 'team', 'blob'), '');
    hints = [];
    // Whatever the kernel had to tell of the file came before what happens now.
    await hinted('');
    expect(hints).not.to.include('team');
  });
});
