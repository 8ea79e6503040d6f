import { chownSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { becomeOwner, explainDenied } from '#src/cli/as-owner.js';
import { DropdockError } from '#src/errors.js';
import { loadSettings } from '#src/settings/settings.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';

describe('a command run as root', () => {
  let said: string[];
  let state: string;

  beforeEach(function () {
    if (process.getuid?.() !== 0) {
      console.info('      skipped: only root can give a tree to somebody else');
      this.skip();
    }
    said = [];
    state = join(tempDir(), 'state');
    mkdirSync(state);
    chownSync(state, 4321, 8765);
  });
  afterEach(removeTempDirs);

  const user = (uid: number) => ({
    getuid: () => uid,
    setgroups: (groups: readonly number[]) => void said.push(`groups ${groups}`),
    setgid: (gid: number) => void said.push(`gid ${gid}`),
    setuid: (to: number) => void said.push(`uid ${to}`),
  });
  const settingsFor = (path: string) => {
    const text = `paths: {state: ${path}}`;
    return loadSettings({ file: { name: 'it', text }, environment: {}, flags: [] }).settings;
  };
  const become = (command: string, uid = 0, path = state) =>
    becomeOwner(command, settingsFor(path), user(uid));

  it('runs as the user that owns the tree, and sets groups first', () => {
    expect(become('publish')).to.equal(4321);
    expect(said).to.deep.equal(['groups 8765', 'gid 8765', 'uid 4321']);
  });

  it('stays root on a tree owned by root, without a tree, and for the daemon', () => {
    chownSync(state, 0, 0);
    expect(become('publish')).to.equal(undefined);
    expect(become('publish', 0, join(state, 'none'))).to.equal(undefined);
    chownSync(state, 4321, 8765);
    for (const command of ['run', 'serve', 'init', 'config']) {
      expect(become(command)).to.equal(undefined);
    }
    expect(become('publish', 1000)).to.equal(undefined);
    expect(said).to.deep.equal([]);
  });

  it('reports the user it tried to become when it lacks permission', () => {
    const denied = Object.assign(new Error('EACCES: permission denied'), {
      code: 'EACCES',
      syscall: 'open',
      path: '/root/app.tar',
    });
    const explained = explainDenied(denied, 4321) as DropdockError;
    expect(explained).to.be.instanceOf(DropdockError);
    expect(explained.code).to.equal('access.denied');
    expect(explained.message).to.contain('user 4321').and.contain('EACCES');
    const other = new Error('other');
    expect(explainDenied(other, 4321)).to.equal(other);
  });
});
