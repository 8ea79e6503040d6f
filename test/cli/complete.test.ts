/** Help and completions: every command has an example, and shells get the values of arguments. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { EXAMPLES } from '#src/cli/examples.js';
import { dropdock, MAIN } from '../support/daemon-process.js';
import { makeLayout } from '../support/make-image.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';

const MANUALS = fileURLToPath(new URL('../../systemd/debian/manuals.mjs', import.meta.url));

describe('help and completion', function () {
  this.timeout(120_000);
  let root: string;

  before(async () => {
    root = tempDir();
    makeLayout(join(root, 'layout'), { layers: ['a'] });
    await dropdock('publish', join(root, 'layout'), '--as', 'team/app:1', '--root', root);
    execFileSync(process.execPath, [MANUALS, MAIN, join(root, 'out'), '1', '2026-01-01']);
  });
  after(removeTempDirs);

  const complete = async (...given: string[]) =>
    (await dropdock('complete', ...given, '--root', root)).stdout.split('\n').filter(Boolean);
  const made = (name: string) => readFileSync(join(root, 'out', name), 'utf8');

  it('each command has an example and the global options in its help', async () => {
    const { stdout } = await dropdock('--help');
    const names = [...stdout.matchAll(/^ {2}([a-z]+)(?: \[options\]| [<[].*?[>\]])* {2,}/gm)].map(
      ([, name]) => name,
    );
    expect(names.filter((name) => name !== 'help')).to.have.members(Object.keys(EXAMPLES));
    expect(stdout).to.contain('Exit codes:').and.not.to.contain('complete');
    const help = (await dropdock('untag', '--help')).stdout;
    expect(help).to.contain('--root').and.to.contain('Examples:\n  dropdock untag');
  });

  it('prints repositories, tags, snapshots and targets, and nothing instead of an error', async () => {
    expect(await complete('repositories')).to.deep.equal(['team/app']);
    expect(await complete('tags', 'team/app')).to.deep.equal(['1']);
    expect((await complete('snapshots', 'team/app'))[0]).to.match(/^\d{8}T\d{6}\.\d{3}Z$/);
    expect(await complete('targets')).to.deep.equal(['local']);
    for (const given of [['tags'], ['tags', 'NO NAME'], ['snapshots', 'none'], ['other']]) {
      expect(await complete(...given)).to.deep.equal([]);
    }
  });

  it('bash completes the arguments of a command', () => {
    const program = `dropdock() { '${process.execPath}' '${MAIN}' "$@"; }
      . '${join(root, 'out/dropdock.bash')}'
      COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _dropdock; echo "\${COMPREPLY[*]}"`;
    const completed = (...words: string[]) =>
      execFileSync('bash', ['-c', program, 'bash', 'dropdock', '--root', root, ...words], {
        encoding: 'utf8',
      }).trim();
    expect(completed('un')).to.equal('untag');
    expect(completed('untag', '')).to.equal('team/app');
    expect(completed('untag', 'team/app', '1', '')).to.equal('1');
    expect(completed('rollback', 'team/app', '')).to.match(/^\d{8}T/);
    expect(completed('status', 'team/app', '')).to.equal('');
    expect(completed('verify', '--target', '')).to.equal('local');
  });

  it('the manual page has the examples and the exit codes; zsh and fish ask for values', () => {
    expect(made('dropdock.1'))
      .to.contain('dropdock untag team/app 1.2 1.3')
      .and.match(/\.B 75\n/);
    expect(made('_dropdock')).to.contain('_dropdock_values tags');
    expect(made('dropdock.fish')).to.contain('__dropdock_values snapshots');
  });
});
