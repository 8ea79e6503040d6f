/** Which view a URL selects; URLs outside the page belong to the registry. */
import { expect } from 'chai';
import { type PageRoute, parsePageRoute, typedAddress } from '#src/web/page-route.js';

const DIGEST = `sha256:${'a1'.repeat(32)}`;

describe('URLs of the page', () => {
  it('map to its views', () => {
    const views: Record<string, object> = {
      '/': { kind: 'home', filter: '', order: 'name', page: 1 },
      '/?q=a+b&page=3': { kind: 'home', filter: 'a b', order: 'name', page: 3 },
      'http://host/?q=x&sort=size': { kind: 'home', filter: 'x', order: 'size', page: 1 },
      '/?sort=other': { kind: 'home', filter: '', order: 'name', page: 1 },
      '/?sign-in': { kind: 'sign-in' },
      '/-/inbox': { kind: 'inbox' },
      '/-/live?view=home&sort=age': {
        kind: 'live',
        view: 'home',
        filter: '',
        order: 'age',
        page: 1,
      },
      '/-/help': { kind: 'help' },
      '/-/image/team/app:1.0': { kind: 'image', repository: 'team/app', reference: '1.0' },
      [`/-/image/a@${DIGEST}`]: { kind: 'image', repository: 'a', reference: DIGEST },
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
    for (const image of ['a', 'a:', ':1', 'A:1', 'a@1', 'a:b:c', 'a@sha256:1', '../a:1']) {
      expect(parsePageRoute(`/-/image/${image}`), image).to.deep.equal({ kind: 'nothing' });
    }
    expect(parsePageRoute('/-/')).to.deep.equal({ kind: 'nothing' });
    expect(parsePageRoute(`/?q=${'x'.repeat(5000)}`)).to.deep.equal({ kind: 'nothing' });
    const pageOf = (text: string) =>
      (parsePageRoute(`/?page=${text}`) as Extract<PageRoute, { kind: 'home' }>).page;
    expect(['-1', '0', 'x', '1e9', '99999999999'].map(pageOf)).to.deep.equal([1, 1, 1, 1, 1e6]);
    const { filter } = parsePageRoute(`/?q=${'x'.repeat(300)}`) as { filter: string };
    expect(filter).to.have.length(200);
  });

  it('include a typed repository or image, for browsers only', () => {
    const html = 'text/html,application/xhtml+xml;q=0.9,*/*;q=0.8';
    const typed: Record<string, string> = {
      '/team/web': '/-/tags/team/web',
      '/web/?x': '/-/tags/web',
      '/team/web:1.0': '/-/image/team/web:1.0',
      [`/web@${DIGEST}`]: `/-/image/web@${DIGEST}`,
    };
    for (const [url, address] of Object.entries(typed)) {
      expect(typedAddress(url, html), url).to.equal(address);
      expect(typedAddress(url, '*/*'), url).to.equal(undefined);
      expect(typedAddress(url, undefined), url).to.equal(undefined);
    }
    const others = [
      '/v2/',
      '/v2',
      '/v2/team/web/tags/list',
      '/pulp/docker/v2/x',
      '/Team',
      '//x',
      '/a\r',
    ];
    for (const url of others) expect(typedAddress(url, html), url).to.equal(undefined);
  });
});
