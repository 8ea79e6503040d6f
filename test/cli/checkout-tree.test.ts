import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { findCheckoutTree } from '#src/cli/checkout-tree.js';
import { loadSettings } from '#src/settings/settings.js';
import { nodeDisk } from '#src/storage/disk.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';

describe('the tree of a command in a checkout', () => {
  let checkout: string;
  beforeEach(() => {
    checkout = tempDir();
    for (const directory of ['src', 'var/state']) {
      mkdirSync(join(checkout, directory), { recursive: true });
    }
    writeFileSync(join(checkout, 'src', 'main.ts'), '');
  });
  afterEach(removeTempDirs);

  const DEFAULT = '/var/lib/dropdock/state';
  /** With or without a tree in the default place, whatever is on this machine. */
  const find = (command: string, environment: Record<string, string> = {}, hasDefault = false) => {
    const statIfThere: typeof nodeDisk.statIfThere = (path) =>
      path === DEFAULT
        ? hasDefault
          ? nodeDisk.stat(checkout)
          : undefined
        : nodeDisk.statIfThere(path);
    const loaded = loadSettings({ file: undefined, environment, flags: [] });
    return findCheckoutTree(command, loaded, checkout, { statIfThere });
  };

  it('is that of npm start', () => {
    expect(find('status')).to.equal(join(checkout, 'var'));
    expect(find('rollback')).to.equal(join(checkout, 'var'));
  });

  it('is the configured one, or the default one where that exists', () => {
    expect(find('status', { DROPDOCK_PATHS_STATE: '/srv/state' })).to.equal(undefined);
    expect(find('status', {}, true)).to.equal(undefined);
  });

  it('is never guessed for a daemon, in an installed package, or before npm start', () => {
    for (const command of ['run', 'serve', 'init']) expect(find(command)).to.equal(undefined);
    rmSync(join(checkout, 'src'), { recursive: true });
    expect(find('status')).to.equal(undefined);
    mkdirSync(join(checkout, 'src'));
    writeFileSync(join(checkout, 'src', 'main.ts'), '');
    rmSync(join(checkout, 'var'), { recursive: true });
    expect(find('status')).to.equal(undefined);
  });
});
