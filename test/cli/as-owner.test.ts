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

  const denied = Object.assign(new Error('EACCES: permission denied'), {
    code: 'EACCES',
    syscall: 'open',
    path: '/root/app.tar',
  });
  const explain = (
    error: Error,
    { command = 'clean', became, uid }: { command?: string; became?: number; uid: number },
  ) =>
    explainDenied(error, {
      command,
      argv: [command, '--root', "/a b's"],
      paths: settingsFor(state).paths,
      became,
      uid,
    }) as DropdockError;

  it('reports the user it tried to become when it lacks permission', () => {
    const explained = explain(denied, { became: 4321, uid: 4321 });
    expect(explained).to.be.instanceOf(DropdockError);
    expect(explained.code).to.equal('access.denied');
    expect(explained.message).to.contain('user #4321').and.contain('EACCES');
    const other = new Error('other');
    expect(explain(other, { became: 4321, uid: 4321 })).to.equal(other);
  });

  it('tells another user the command to run', () => {
    expect(explain(denied, { uid: 1000 }).message).to.match(
      /Run as root or as user #4321: sudo dropdock clean --root '\/a b'\\''s'$/,
    );
    expect(explain(denied, { uid: 1000, command: 'run' }).message).to.contain(
      "Run as user #4321: sudo -u '#4321' dropdock run",
    );
    chownSync(state, 0, 0);
    expect(explain(denied, { uid: 1000 }).message).to.contain('Run as root: sudo dropdock clean');
  });

  it('leaves errors of the owner, and of a port, as they are', () => {
    expect(explain(denied, { uid: 4321 })).to.equal(denied);
    const port = Object.assign(new Error('EACCES'), { code: 'EACCES', syscall: 'listen' });
    expect(explain(port, { uid: 1000 })).to.equal(port);
  });
});
