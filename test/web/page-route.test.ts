/** Which view a URL selects; URLs outside the page belong to the registry. */
import { expect } from 'chai';
import { type PageRoute, parsePageRoute } from '#src/web/page-route.js';

describe('URLs of the page', () => {
  it('map to its views', () => {
    const views: Record<string, object> = {
      '/': { kind: 'home', filter: '', page: 1 },
      '/?q=a+b&page=3': { kind: 'home', filter: 'a b', page: 3 },
      'http://host/?q=x': { kind: 'home', filter: 'x', page: 1 },
      '/?sign-in': { kind: 'sign-in' },
      '/-/inbox': { kind: 'inbox' },
      '/-/live?view=brief': { kind: 'live', view: 'brief' },
      '/-/live': { kind: 'live', view: 'full' },
      '/-/page.css?x': { kind: 'asset', path: '/-/page.css' },
      '/-/tags/team/app?sort=tag': {
        kind: 'tags',
        repository: 'team/app',
        filter: '',
        order: 'tag',
        page: 1,
      },
      '/-/history/history?before=20261124T000000.000Z': {
        kind: 'history',
        repository: 'history',
        before: '20261124T000000.000Z',
      },
      '/-/history/a?before=../../etc': { kind: 'history', repository: 'a', before: undefined },
    };
    for (const [url, route] of Object.entries(views)) {
      expect(parsePageRoute(url), url).to.deep.equal(route);
    }
  });

  it('do not collide with URLs of the registry, of Pulp or of operators', () => {
    for (const url of ['/v2/', '/v2', '/pulp/docker/v2/', '/metrics', '/healthz', '//', '', '*']) {
      expect(parsePageRoute(url), url).to.equal(undefined);
    }
  });

  it('accept only repository names, with bounded parameters', () => {
    const odd = ['Team', 'a//b', '../a', '.nobody', '%61', 'a/', '', 'a\0b'];
    for (const name of odd) {
      for (const view of ['tags', 'history']) {
        expect(parsePageRoute(`/-/${view}/${name}`), name).to.deep.equal({ kind: 'nothing' });
      }
    }
    expect(parsePageRoute('/-/')).to.deep.equal({ kind: 'nothing' });
    expect(parsePageRoute(`/?q=${'x'.repeat(5000)}`)).to.deep.equal({ kind: 'nothing' });
    const pageOf = (text: string) =>
      (parsePageRoute(`/?page=${text}`) as Extract<PageRoute, { kind: 'home' }>).page;
    expect(['-1', '0', 'x', '1e9', '99999999999'].map(pageOf)).to.deep.equal([1, 1, 1, 1, 1e6]);
    const { filter } = parsePageRoute(`/?q=${'x'.repeat(300)}`) as { filter: string };
    expect(filter).to.have.length(200);
  });
});
