import { execFileSync } from 'node:child_process';
import { expect } from 'chai';
import { commandLineOf, programName, quote } from '#src/cli/command-line.js';

describe('a command line to paste', () => {
  it('repeats --root and --config as they were given', () => {
    const given = { program: 'dropdock', root: 'var', config: '/etc/my settings.yaml' };
    expect(commandLineOf(given)('rollback', 'app', undefined, '--target', 'eu')).to.equal(
      "dropdock rollback app --target eu --root var --config '/etc/my settings.yaml'",
    );
    expect(commandLineOf({ program: 'dropdock' })('run')).to.equal('dropdock run');
  });

  it('starts the program as it was started', () => {
    expect(programName('/usr/bin/dropdock', '/root', false)).to.equal('dropdock');
    expect(programName('/x/node_modules/.bin/dropdock', '/x', true)).to.equal('npx dropdock');
    expect(programName('/x/dist/main.js', '/x', false)).to.equal('node dist/main.js');
    expect(programName('/x/dist/main.js', '/x/dist', false)).to.equal('node main.js');
    expect(programName('/x/dist/main.js', '/a/b', false)).to.equal('node /x/dist/main.js');
  });

  it('quotes what a shell would change', () => {
    for (const word of ['plain', "it's", 'a b', '~/x', '$HOME', '*', '', '-x', 'a;b']) {
      const said = execFileSync('sh', ['-c', `printf %s ${quote(word)}`], { encoding: 'utf8' });
      expect(said).to.equal(word);
    }
  });
});
