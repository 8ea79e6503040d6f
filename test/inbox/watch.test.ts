import {
  chmodSync,
  closeSync,
  linkSync,
  mkdirSync,
  openSync,
  promises,
  renameSync,
  rmdirSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
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

  it('reports changes in the directories it follows', async () => {
    watch.follow(['', 'team'], 0);
    await hinted('');
    await hinted('team');
  });

  it('does not read the entries, however many there are', async () => {
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

  it('requests repeated scans after adding a watch, as earlier events are lost', () => {
    expect(watch.follow([''], 1000)).to.equal(20);
    expect(watch.follow([''], 1100)).to.equal(100);
    expect(watch.follow([''], 11_001)).to.equal(Number.POSITIVE_INFINITY);
    expect(watch.follow(['', 'team'], 12_000)).to.equal(20);
  });

  it('ignores names that are not drops: internal files and files being uploaded', async () => {
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

  it('ignores events in directories it does not follow', async () => {
    watch.follow([''], 0);
    await hinted('');
    writeFileSync(join(inbox, 'team', 'blob'), '');
    hints = [];
    // Whatever the kernel had to tell of the file came before what happens now.
    await hinted('');
    expect(hints).not.to.include('team');
  });

  describe('waiting for the change of a drop', () => {
    const drop = () => join(inbox, 'app.tar.gz');

    it('reports writes to a file that was renamed and linked back while it is open', async () => {
      mkdirSync(join(inbox, '.claimed'));
      const fd = openSync(drop(), 'w');
      renameSync(drop(), join(inbox, '.claimed', 'app'));
      linkSync(join(inbox, '.claimed', 'app'), drop());
      rmSync(join(inbox, '.claimed', 'app'));
      expect(watch.awaitChange('app.tar.gz', ['app.tar.gz'])).to.equal(true);
      writeSync(fd, 'more');
      closeSync(fd);
      await waitFor('a hint', () => hints.includes('app.tar.gz'));
    });

    it('reports once per request', async () => {
      mkdirSync(join(inbox, 'app', 'blobs'), { recursive: true });
      const ask = () => watch.awaitChange('app', ['app', 'app/blobs', 'app/none']);
      expect(ask()).to.equal(true);
      expect(ask()).to.equal(false);
      for (let n = 0; n < 10; n++) writeFileSync(join(inbox, 'app', 'blobs', String(n)), '');
      await waitFor('a hint', () => hints.length > 0);
      expect(hints).to.deep.equal(['app/blobs']);
      expect(ask()).to.equal(true);
      writeFileSync(join(inbox, 'app', 'index.json'), '');
      await waitFor('another', () => hints.includes('app'));
    });

    it('ignores drops that no longer wait', async () => {
      mkdirSync(join(inbox, 'app'));
      watch.awaitChange('app', ['app']);
      watch.awaitChange('team', ['team']);
      watch.awaitOnly(new Set(['team']));
      writeFileSync(join(inbox, 'app', 'x'), '');
      writeFileSync(join(inbox, 'team', 'x'), '');
      await waitFor('a hint', () => hints.includes('team'));
      expect(hints).not.to.include('app');
    });

    it('leaves drops beyond the watch limit to the scans', () => {
      const places = Array.from({ length: 1500 }, () => 'team');
      expect(watch.awaitChange('first', places)).to.equal(true);
      expect(watch.awaitChange('second', places)).to.equal(false);
      watch.awaitOnly(new Set());
      expect(watch.awaitChange('second', places)).to.equal(true);
    });
  });
});
