/** A request target is a route only when every part of it matches its grammar. */
import { expect } from 'chai';
import { isRefusal } from '#src/registry/refusal.js';
import { parseRoute } from '#src/registry/route.js';

const HEX = 'a'.repeat(64);
const DIGEST = `sha256:${HEX}`;
const SHA512 = `sha512:${'b'.repeat(128)}`;

/** The status and code of what is no route. */
function refused(url: string): string {
  const route = parseRoute(url);
  return isRefusal(route) ? `${route.status} ${route.code}` : JSON.stringify(route);
}

describe('parseRoute', () => {
  it('recognises each spec endpoint for pull and discovery, and the catalog', () => {
    const [repository, digest] = ['team/app', DIGEST];
    const page = { n: undefined, last: undefined };
    const routes: Record<string, object> = {
      '/v2/': { kind: 'base' },
      '/v2': { kind: 'base' },
      '/v2/?ns=docker.io': { kind: 'base' },
      '/v2/_catalog': { kind: 'catalog', ...page },
      '/v2/_catalog?n=5&last=b': { kind: 'catalog', n: 5, last: 'b' },
      '/v2/team/app/manifests/1.0': { kind: 'manifest', repository, reference: '1.0' },
      [`/v2/team/app/manifests/${DIGEST}`]: { kind: 'manifest', repository, reference: digest },
      [`/v2/team/app/manifests/${SHA512}`]: { kind: 'manifest', repository, reference: SHA512 },
      [`/v2/team/app/blobs/${DIGEST}`]: { kind: 'blob', repository, digest },
      '/v2/team/app/tags/list': { kind: 'tags', repository, ...page },
      '/v2/team/app/tags/list?n=0&last=1': { kind: 'tags', repository, n: 0, last: '1' },
      [`/v2/team/app/referrers/${DIGEST}?artifactType=a%2Fb%2Bc`]: {
        kind: 'referrers',
        repository,
        digest,
        artifactType: 'a/b+c',
        last: undefined,
      },
    };
    for (const [url, route] of Object.entries(routes)) {
      expect(parseRoute(url), url).to.deep.equal(route);
    }
  });

  it('accepts repositories whose components are named like endpoints', () => {
    for (const name of ['manifests', 'blobs', 'tags', 'list', 'v2', 'referrers', 'tags/list']) {
      expect(parseRoute(`/v2/${name}/tags/list`)).to.include({ kind: 'tags', repository: name });
      expect(parseRoute(`/v2/a/${name}/manifests/list`)).to.include({
        kind: 'manifest',
        repository: `a/${name}`,
      });
    }
    expect(parseRoute(`/v2/manifests/blobs/blobs/${DIGEST}`)).to.include({
      kind: 'blob',
      repository: 'manifests/blobs',
    });
  });

  it('accepts an absolute request target with any host', () => {
    for (const host of ['http://images.example.com', 'HTTPS://[::1]:5000']) {
      expect(parseRoute(`${host}/v2/app/tags/list?n=1`)).to.include({ kind: 'tags', n: 1 });
      expect(parseRoute(`${host}/v2/`)).to.deep.equal({ kind: 'base' });
    }
    expect(parseRoute('http://images.example.com')).to.include({ status: 404 });
  });

  it('decodes characters that a client encodes unnecessarily', () => {
    const at = parseRoute(`/v2/app/blobs/sha256%3A${HEX}`);
    expect(at).to.include({ kind: 'blob', digest: DIGEST });
    expect(parseRoute('/v2/%61pp/manifests/1%2E0')).to.include({
      repository: 'app',
      reference: '1.0',
    });
  });

  it('rejects dots, encoded separators, NUL and empty components', () => {
    for (const name of [
      '..',
      '.',
      '%2e%2e',
      '%2E',
      'a/..',
      '../a',
      'a/%2e%2e/b',
      '',
      'a//b',
      '/a',
    ]) {
      for (const rest of ['manifests/1', 'tags/list', `blobs/${DIGEST}`, `referrers/${DIGEST}`]) {
        expect(refused(`/v2/${name}/${rest}`), name).to.equal('400 NAME_INVALID');
      }
    }
    for (const part of ['a%2fb', 'a%2Fb', '..%2f..%2fetc', 'a%00', '%00', 'a%5c%00', '%', '%zz']) {
      expect(refused(`/v2/${part}/tags/list`), part).to.equal('400 NAME_INVALID');
      expect(refused(`/v2/app/manifests/${part}`), part).to.equal('400 NAME_INVALID');
    }
    expect(refused('/v2/app/manifests/..')).to.equal('404 MANIFEST_UNKNOWN');
    expect(refused('/v2/app/manifests/%2e%2e')).to.equal('404 MANIFEST_UNKNOWN');
    expect(refused('/v2/app/tags/..')).to.equal('404 NAME_UNKNOWN');
    expect(refused('/v2/../v2/')).to.equal('404 NAME_UNKNOWN');
    for (const url of ['//v2/', '/v2//', '/v2/a', 'v2/', '', '/', '*', '/V2/', '/v1/', '/v2/../']) {
      expect(refused(url), url).to.equal('404 NAME_UNKNOWN');
    }
  });

  it('rejects names outside the grammar, and names that are too long', () => {
    const names = ['App', 'a_', '-a', 'a..b', 'a b', 'a%20b', 'é', '%C3%A9', 'a~b', 'a:1', 'a___b'];
    for (const name of [...names, '.snapshot.json', 'a'.repeat(201)]) {
      expect(refused(`/v2/${name}/tags/list`), name).to.equal('400 NAME_INVALID');
    }
    expect(parseRoute(`/v2/${'a'.repeat(200)}/tags/list`)).to.include({ kind: 'tags' });
  });

  it('rejects references that are neither digest nor tag, and a long target without parsing it', () => {
    const digests = [`sha256:${'A'.repeat(64)}`, `md5:${HEX}`, `sha256:${HEX}a`, ':', 'sha256:'];
    for (const text of [...digests, `sha512:${HEX}`, 'a:b']) {
      for (const kind of ['manifests', 'blobs', 'referrers']) {
        expect(refused(`/v2/app/${kind}/${text}`), text).to.equal('400 DIGEST_INVALID');
      }
    }
    for (const tag of ['', '.a', '-a', 'a'.repeat(129), 'a+b', 'a b']) {
      expect(refused(`/v2/app/manifests/${tag}`), tag).to.equal('404 MANIFEST_UNKNOWN');
    }
    expect(parseRoute(`/v2/app/manifests/${'a'.repeat(128)}`)).to.include({ kind: 'manifest' });
    expect(refused(`/v2/app/blobs/1.0`)).to.equal('400 DIGEST_INVALID');
    expect(refused('/v2/app/blobs/uploads/')).to.equal('404 NAME_UNKNOWN');
    expect(refused(`/v2/${'a/'.repeat(3000)}tags/list`)).to.equal('404 NAME_UNKNOWN');
    expect(refused(`/v2/app/tags/list?last=${'x'.repeat(5000)}`)).to.equal('404 NAME_UNKNOWN');
  });

  it('reads n as an integer or rejects it, and accepts any other query', () => {
    for (const n of ['-1', '1.5', 'x', '', '1e3', '0x10', '%2B5', '9'.repeat(16), ' 1']) {
      for (const path of ['/v2/app/tags/list', '/v2/_catalog']) {
        expect(refused(`${path}?n=${n}`), n).to.equal('400 PAGINATION_NUMBER_INVALID');
      }
    }
    const tags = (query: string) => parseRoute(`/v2/app/tags/list${query}`);
    expect(tags(`?n=${'9'.repeat(15)}`)).to.include({ n: 999_999_999_999_999 });
    expect(tags('?n=007')).to.include({ n: 7 });
    expect(tags('?n=1&n=2')).to.include({ n: 1 });
    for (const query of ['?', '??', '?&&=&', '?%zz', '?%00=%00', '?a=b?c=d', '?#', '?last']) {
      expect(tags(query), query).to.include({ kind: 'tags', n: undefined });
    }
    expect(tags('?last=..%2f..%00')).to.include({ last: '../..\0' });
    expect(parseRoute(`/v2/app/referrers/${DIGEST}?artifactType=`)).to.include({
      artifactType: undefined,
    });
  });
});
