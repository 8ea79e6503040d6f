import { expect } from 'chai';
import { parseRepositoryId, parseRepositoryName } from '#src/image/names.js';
import {
  matchesRepository,
  resolveRepository,
  resolveRepositoryById,
} from '#src/settings/repository-policy.js';
import { loadSettings } from '#src/settings/settings.js';

const settingsOf = (text: string) =>
  loadSettings({ file: { name: 's.yaml', text }, environment: {}, flags: [] }).settings;
const resolve = (text: string, name: string) =>
  resolveRepository(settingsOf(text), parseRepositoryName(name));

describe('resolveRepository', () => {
  it('uses the general settings when no pattern matches', () => {
    const text = 'retention: {keep: 5, grace: 2h}\nredirect: {oci: omit, url: "https://x/{id}/"}\n';
    expect(resolve(`${text}repositories: {other: {keep: 9}}\n`, 'team/app')).to.deep.equal({
      repository: 'team/app',
      id: 'team~app',
      mode: 'merge',
      protected: false,
      immutableTags: [],
      urlTemplate: 'https://x/{id}/',
      redirectOci: 'omit',
      keep: 5,
      graceMs: 7_200_000,
      targets: ['local'],
    });
  });

  it('protects repositories with readers, and rejects readers without a password file', () => {
    const users = 'registry: {htpasswd: /etc/users}\n';
    const readers = 'repositories: {team/*: {readers: [alice]}}\n';
    const resolved = resolve(users + readers, 'team/app');
    expect(resolved).to.deep.include({ protected: true, readers: ['alice'] });
    expect(resolve(users + readers, 'app').protected).to.equal(false);
    expect(() => settingsOf(readers)).to.throw(/s\.yaml:1.*readers.*htpasswd/s);
  });

  it('applies all matching patterns, the later over the earlier', () => {
    const text = `repositories:
  "**": {keep: 1, protected: true}
  team/*: {keep: 2, mode: replace}
  team/app: {keep: 3}
  other/*: {keep: 4}
`;
    expect(resolve(text, 'team/app')).to.include({ keep: 3, mode: 'replace', protected: true });
    expect(resolve(text, 'team/web')).to.include({ keep: 2, mode: 'replace', protected: true });
    expect(resolve(text, 'x')).to.include({ keep: 1, mode: 'merge', protected: true });
  });

  for (const [value, patterns] of [
    ['true', ['*']],
    ['false', []],
    ['["v*", stable]', ['v*', 'stable']],
  ] as const) {
    it(`reads immutableTags: ${value}`, () => {
      const text = `repositories: {app: {immutableTags: ${value}}}\n`;
      expect(resolve(text, 'app').immutableTags).to.deep.equal(patterns);
    });
  }

  it('finds the repository by its configured id', () => {
    const settings = settingsOf('repositories: {team/app: {id: chosen, keep: 7}}\n');
    const byId = (id: string) => resolveRepositoryById(settings, parseRepositoryId(id));
    expect(byId('chosen')).to.include({ repository: 'team/app', id: 'chosen', keep: 7 });
    expect(byId('a~b')).to.include({ repository: 'a/b', id: 'a~b' });
  });
});

describe('matchesRepository', () => {
  const cases: readonly [string, string, boolean][] = [
    ['team/app', 'team/app', true],
    ['team/app', 'team/app2', false],
    ['team/*', 'team/app', true],
    ['team/*', 'team/sub/app', false],
    ['team/*', 'steam/app', false],
    ['team/**', 'team/sub/app', true],
    ['**', 'any/thing', true],
    ['*', 'any/thing', false],
    ['*/app', 'team/app', true],
    ['a.b', 'axb', false],
    ['te*m/a*', 'team/app', true],
  ];
  for (const [pattern, name, matches] of cases) {
    it(`returns ${matches} for ${name} and ${pattern}`, () => {
      expect(matchesRepository(pattern, name)).to.equal(matches);
    });
  }
});
