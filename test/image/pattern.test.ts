import { expect } from 'chai';
import { matchesPattern } from '#src/image/pattern.js';

describe('a settings pattern', () => {
  const cases: readonly [string, readonly string[], readonly string[]][] = [
    ['team/app', ['team/app'], ['team/apps', 'my/team/app', 'team~app', 'team']],
    ['team/*', ['team/app', 'team/'], ['team', 'team/app/ui', 'teams/app']],
    ['team/**', ['team/app', 'team/app/ui'], ['team', 'teams/app']],
    ['te**', ['te', 'team', 'team/app/ui'], ['my/team']],
    ['**/app', ['team/app', 'a/b/app'], ['app', 'team/apps']],
    ['*', ['app', '.hidden', ''], ['team/app']],
    ['**', ['app', 'team/app', '.hidden', ''], []],
    ['***', ['team/app'], []],
    ['a*c*e', ['ace', 'abcde'], ['abcdf', 'a/ce']],
    // What means something in a shell or in a regular expression stands for itself.
    ['v1.2', ['v1.2'], ['v1x2']],
    ['v[12]', ['v[12]'], ['v1']],
    ['{a,b}', ['{a,b}'], ['a']],
    ['!a', ['!a'], ['b']],
    ['+(a|b)?', ['+(a|b)?'], ['a', 'aa']],
    ['a\\*', ['a\\', 'a\\b'], ['a*']],
    // Tags.
    ['v*', ['v1', 'v1.2-rc.1', 'v'], ['1', 'latest']],
    ['v*.*', ['v1.2', 'v1.2.3'], ['v1']],
  ];
  for (const [pattern, yes, no] of cases) {
    it(`${pattern} matches as documented`, () => {
      expect(yes.filter((name) => !matchesPattern(pattern, name))).to.deep.equal([]);
      expect(no.filter((name) => matchesPattern(pattern, name))).to.deep.equal([]);
    });
  }
});
