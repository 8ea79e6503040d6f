/** Token scopes as defined by the distribution project. */
import { expect } from 'chai';
import { formatScope, includesAccess, parseScopes, pullAccess } from '#src/auth/scope.js';
import type { RepositoryName } from '#src/image/names.js';

const parsed = (...texts: string[]) => parseScopes(texts).map(formatScope);

describe('parseScopes', () => {
  it('reads one scope, several scopes, and several in one string, without duplicates', () => {
    expect(parsed('repository:team/app:pull')).to.deep.equal(['repository:team/app:pull']);
    expect(parsed('repository:a:pull', 'repository:b:pull')).to.have.length(2);
    expect(parsed('repository:a:pull repository:b:pull  repository:a:pull')).to.deep.equal([
      'repository:a:pull',
      'repository:b:pull',
    ]);
    expect(parsed('registry:catalog:*')).to.deep.equal(['registry:catalog:*']);
  });

  it('ignores scopes that this registry does not grant', () => {
    expect(parsed('repository:a:pull,push')).to.deep.equal(['repository:a:pull']);
    expect(parsed('repository:a:push,pull', 'repository:a:*')).to.deep.equal(['repository:a:pull']);
    for (const text of [
      '',
      'repository:a:push',
      'repository:a:',
      'repository:a:pulls',
      'repository(plugin):a:pull',
      'registry:catalog:pull',
      'registry:other:*',
      'repository::pull',
      'repository:Team:pull',
      'repository:../a:pull',
      'repository:a:5000/b:pull',
      'x:a:pull',
      'pull',
    ]) {
      expect(parsed(text), text).to.deep.equal([]);
    }
  });

  it('matches the requested scope exactly', () => {
    const all = parseScopes(['repository:team/app:pull']);
    const pull = (name: string) => includesAccess(all, pullAccess(name as RepositoryName));
    expect(['team/app', 'team', 'team/app2', 'app'].map(pull)).to.deep.equal([
      true,
      false,
      false,
      false,
    ]);
    expect(includesAccess(all, { type: 'registry', name: 'team/app', actions: ['pull'] })).to.equal(
      false,
    );
  });
});
