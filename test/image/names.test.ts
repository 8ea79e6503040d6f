import { expect } from 'chai';
import {
  claimName,
  defaultRepositoryId,
  flatDropName,
  isBusyName,
  parseDropName,
  parseImageReference,
  parseRepositoryId,
  parseRepositoryName,
  parseTag,
  pathOfClaimName,
  pathWithoutDirectories,
  returnedPaths,
  whyTooLong,
} from '#src/image/names.js';
import { anyPath, dropPathFrom } from '../support/drop-paths.js';
import { makeRandom } from '../support/random.js';
import { refusal } from '../support/refusal.js';

describe('repository names', () => {
  for (const name of ['a', 'team/app', 'a.b_c__d-e--f/0', 'library/alpine', 'x'.repeat(200)]) {
    it(`may be ${name.slice(0, 30)}`, () => {
      expect(parseRepositoryName(name)).to.equal(name);
    });
  }

  const bad = [
    ...['', 'Team/app', 'team//app', '/app', 'app/', '.app', 'app.', 'a..b', 'a___b', '-a', 'a-'],
    ...['../app', 'a b', 'ä', 'app\n', 'app:1', 'a~b', 'x'.repeat(201), `${'a/'.repeat(200)}b`],
  ];
  for (const name of bad) {
    it(`may not be ${JSON.stringify(name.slice(0, 30))}: name.invalid`, () => {
      expect(refusal(() => parseRepositoryName(name)).code).to.equal('name.invalid');
    });
  }

  it('are rejected quickly, whatever they contain', () => {
    const start = performance.now();
    for (const part of ['a', '-', 'a-', 'a_', '__', 'a/', '.']) {
      refusal(() => parseRepositoryName(`${part.repeat(100).slice(0, 199)}!`));
    }
    expect(performance.now() - start).to.be.lessThan(1000);
  });
});

describe('tags', () => {
  for (const tag of ['1.0', 'latest', '_x', 'V1-a.b_c', 'x'.repeat(128), '__proto__']) {
    it(`may be ${tag.slice(0, 30)}`, () => {
      expect(parseTag(tag)).to.equal(tag);
    });
  }
  for (const tag of ['', '.1', '-1', 'a b', 'a/b', 'a:b', 'ä', 'a\n', '..', 'x'.repeat(129)]) {
    it(`may not be ${JSON.stringify(tag.slice(0, 30))}: tag.invalid`, () => {
      expect(refusal(() => parseTag(tag)).code).to.equal('tag.invalid');
    });
  }
});

describe('repository ids', () => {
  it('replace / with ~, which no name contains', () => {
    expect(defaultRepositoryId(parseRepositoryName('a/b/c'))).to.equal('a~b~c');
  });
  for (const id of ['team~app', 'My.App-1', '_x']) {
    it(`may be ${id}`, () => {
      expect(parseRepositoryId(id)).to.equal(id);
    });
  }
  for (const id of ['', '.hidden', '-x', '~x', '..', 'a/b', 'a b', 'a\n', 'x'.repeat(201)]) {
    it(`may not be ${JSON.stringify(id.slice(0, 30))}: name.invalid`, () => {
      expect(refusal(() => parseRepositoryId(id)).code).to.equal('name.invalid');
    });
  }
});

describe('parseDropName', () => {
  const names: readonly [string, string | undefined, string | undefined, string?][] = [
    ['alpine', 'alpine', undefined],
    ['alpine:3.19', 'alpine', '3.19'],
    ['team/app:1.2', 'team/app', '1.2'],
    ['team/app@build-4711', 'team/app', undefined],
    ['team/app:1.2@build-4711', 'team/app', '1.2'],
    ['team/app:1.2@a:b@c', 'team/app', '1.2'],
    ['team~app=1.2', 'team/app', '1.2'],
    ['team~app=1.2@x=y', 'team/app', '1.2'],
    ['app.tar', 'app.tar', undefined],
    ['@bundle', undefined, undefined, ''],
    ['team/@bundle', undefined, undefined, 'team'],
    ['team~@bundle', undefined, undefined, 'team'],
    ['team/sub/@bundle', undefined, undefined, 'team/sub'],
    ['registry.example:5000/team/app:1.2', 'registry.example/team/app', '1.2'],
    ['reg:5000/app', 'reg/app', undefined],
    ['reg=5000/team/app=1.2', 'reg/team/app', '1.2'],
    ['mirror/reg:5000/team/app:1.2@x', 'mirror/reg/team/app', '1.2'],
    ['mirror~reg:5000/team/app:5', 'mirror/reg/team/app', '5'],
    ['reg:5000/@bundle', undefined, undefined, 'reg'],
    ['reg:5000~team~app:1.2', 'reg/team/app', '1.2'],
    ['mirror~reg=5000~app=1', 'mirror/reg/app', '1'],
    ['localhost:5000~app', 'localhost/app', undefined],
    ['10.0.0.1:5000~team~app@x', '10.0.0.1/team/app', undefined],
  ];
  for (const [path, repository, tag, namespace = ''] of names) {
    it(`reads ${path} as ${repository ?? `a bundle below "${namespace}"`} ${tag ?? ''}`, () => {
      expect(parseDropName(path, false)).to.deep.equal({ repository, tag, namespace });
    });
  }

  for (const extension of [
    'tar',
    'tar.gz',
    'tgz',
    'tar.zst',
    'tar.zstd',
    'tzst',
    'oci',
    'docker',
  ]) {
    it(`reads an archive without its .${extension}`, () => {
      const { repository, tag } = parseDropName(`team/app:1.2.${extension}`, true);
      expect([repository, tag]).to.deep.equal(['team/app', '1.2']);
    });
  }

  const bad: readonly [string, string][] = [
    ['Team/app', 'name.invalid'],
    ['te am/app', 'name.invalid'],
    [':1.0', 'name.invalid'],
    ['app:', 'tag.invalid'],
    ['app:1.0:2', 'tag.invalid'],
    ['app:a b', 'tag.invalid'],
    ['app:5~beta', 'tag.invalid'],
    ['node.js:18~alpine', 'tag.invalid'],
    [`app:1@${'x'.repeat(200)}`, 'name.invalid'],
  ];
  for (const [path, code] of bad) {
    it(`rejects ${path.slice(0, 30)}: ${code}`, () => {
      expect(refusal(() => parseDropName(path, false)).code).to.equal(code);
    });
  }

  it('gives the same drop for its flat name', () => {
    for (const path of ['team/app:1.2@x', 'a/b/c', 'reg:5000/team/app:1.2', 'a/reg:5000/app:1']) {
      expect(parseDropName(flatDropName(path), false)).to.deep.equal(parseDropName(path, false));
    }
  });
});

describe('claimName', () => {
  const names: readonly [string, string][] = [
    ['team/app:1.2', 'team~app:1.2'],
    ['reg:5000/team/app:1.2', 'reg:5000~team~app:1.2'],
    ['team~app=1.2', '^team^app=1.2'],
    ['team/sub~app:1@a~b', '^team~sub^app:1@a~b'],
    ['app@a~b', 'app@a~b'],
    ['@all', '@all'],
    ['team~@all', '^team^@all'],
    ['te@m/app', 'te%40m~app'],
    ['te%40m/app', '^te%2540m~app'],
    ['^app', '^app'],
    ['^^a', '^%5E%5Ea'],
  ];
  for (const [path, name] of names) {
    it(`is ${name} for ${path}`, () => {
      expect(claimName(path)).to.equal(name);
      expect(pathOfClaimName(name)).to.equal(path);
    });
  }

  it('parses names from earlier versions to the same paths', () => {
    for (const name of ['team~app=1.2', 'a~b@x~y', 'te%40m~app', 'a%40b', '^a~b', 'a~~b', '~']) {
      expect(claimName(pathOfClaimName(name)), name).to.equal(name);
    }
  });

  it('is a single file name that converts back to the path', () => {
    const seed = Math.floor(Math.random() * 2 ** 31);
    const random = makeRandom(seed);
    for (let n = 0; n < 20_000; n++) {
      const path = n % 2 === 0 ? anyPath(random) : dropPathFrom(random).path;
      const name = claimName(path);
      const about = `seed ${seed}: ${JSON.stringify(path)}`;
      expect(name, about).to.not.match(/\/|^$/);
      expect(pathOfClaimName(name), about).to.equal(path);
      if (whyTooLong(path) === undefined) expect(name.length, about).to.be.at.most(206);
    }
  });

  it('fits the file name limit for every path that names a repository', () => {
    const tildes = `${'a~'.repeat(99)}b`;
    expect([tildes.length, claimName(tildes).length]).to.deep.equal([199, 200]);
    expect(whyTooLong(tildes)).to.equal(undefined);
    expect(whyTooLong(`${'@'.repeat(100)}/${'@'.repeat(90)}`)).to.contain('too long');
    expect(whyTooLong('x'.repeat(201))).to.contain('200 bytes');
  });
});

describe('returnedPaths', () => {
  const at = '20261123T152634.123Z';
  const first = (path: string, isFile: boolean) => returnedPaths(path, { isFile, at, seed: 0 })[0];
  const cases: readonly [string, boolean, string][] = [
    ['app', false, `app@returned-${at}`],
    ['team/app:1.2.tar', true, `team/app:1.2@returned-${at}.tar`],
    ['team/app:1.2.tar', false, `team/app:1.2.tar@returned-${at}`],
    ['app:1@x.tar.gz', true, `app:1@x-returned-${at}.tar.gz`],
    ['team/@all.tar', true, `team/@all-returned-${at}.tar`],
    ['@.tar', true, `@returned-${at}.tar`],
    [`a@${'x'.repeat(180)}`, false, `a@returned-${at}`],
    ['x'.repeat(200), false, `${'x'.repeat(200)}@r000`],
    [`${'x'.repeat(196)}.tar`, true, `${'x'.repeat(196)}@r000`],
  ];
  for (const [path, isFile, returned] of cases) {
    it(`begin with ${returned.slice(-45)} for ${isFile ? 'the file' : 'the directory'} ${path.slice(0, 20)}`, () => {
      expect(first(path, isFile)).to.equal(returned);
    });
  }

  it('refer to the same repository, tag and namespace, also without their directories', () => {
    const seed = Math.floor(Math.random() * 2 ** 31);
    const random = makeRandom(seed);
    for (let n = 0; n < 2000; n++) {
      const { path, isFile } = dropPathFrom(random);
      for (const place of [path, pathWithoutDirectories(path)]) {
        const options = { isFile, at, seed: n };
        for (const returned of returnedPaths(place, options).slice(0, 4)) {
          const about = `seed ${seed}: ${path} as ${returned}`;
          expect(parseDropName(returned, isFile), about).to.deep.equal(parseDropName(path, isFile));
          expect(whyTooLong(returned), about).to.equal(undefined);
        }
      }
    }
  });
});

describe('parseImageReference', () => {
  const hex = 'a'.repeat(64);
  const cases: readonly [string, string | undefined, string | undefined, string?][] = [
    ['1.2', undefined, '1.2'],
    ['latest', undefined, 'latest'],
    ['team/app:1.2', 'team/app', '1.2'],
    ['registry.example:5000/team/app:1.2', 'registry.example:5000/team/app', '1.2'],
    ['registry.example:5000/team/app', 'registry.example:5000/team/app', undefined],
    [`team/app:1.2@sha256:${'a'.repeat(64)}`, 'team/app', '1.2'],
    [`team/app@sha256:${hex}`, 'team/app', undefined],
    [`app@sha256:${hex}`, 'app', undefined],
    [`reg:5000/app@sha512:${hex}${hex}`, 'reg:5000/app', undefined],
    [`app:1@sha256:${hex}`, 'app', '1'],
    // A commit, or anything else in hexadecimal digits.
    [`app:${'a'.repeat(40)}`, 'app', 'a'.repeat(40)],
    [`app:${hex}`, 'app', hex],
    [hex, undefined, hex],
    ['sha256:1.36', 'sha256', '1.36'],
    // What is only a digest names nothing.
    [`@sha256:${hex}`, undefined, undefined],
    [`sha256:${hex}`, undefined, undefined],
    [`sha512:${hex}${hex}`, undefined, undefined],
    [`docker.io/library/sha256:${hex}`, undefined, undefined],
    [`sha256:${hex}@sha256:${hex}`, undefined, undefined],
    ['', undefined, undefined],
    ['<none>:<none>', undefined, undefined],
    ['app:<none>', 'app', undefined],
    ['team/app:not a tag', 'team/app', undefined, 'not a tag'],
    ['team/app:v1.20.4+k3s1', 'team/app', undefined, 'v1.20.4+k3s1'],
    ['v1.20.4+k3s1', undefined, undefined, 'v1.20.4+k3s1'],
    ['app:1@latest', 'app', undefined, '1@latest'],
  ];
  for (const [text, repository, tag, invalidTag] of cases) {
    it(`finds ${tag === undefined ? 'no tag' : `the tag ${tag}`} in ${text.slice(0, 40)}`, () => {
      expect(parseImageReference(text)).to.deep.equal({ repository, tag, invalidTag });
    });
  }
});

describe('isBusyName', () => {
  const busy = [
    ...['.x', '.aa.Xy12', 'a.part', 'a.partial', 'a.tmp', 'a.filepart', 'a.crdownload', 'a~'],
    ...['a.lock', 'oci-put-blob1', 'dir-put-blob-x', 'ingest'],
  ];
  for (const name of busy) {
    it(`is true for ${name}`, () => {
      expect(isBusyName(name)).to.equal(true);
    });
  }
  for (const name of [
    'app',
    'app:1.0',
    'tmp',
    'part',
    'a.part.tar',
    'a~b',
    'ingests',
    'index.json',
  ]) {
    it(`is false for ${name}`, () => {
      expect(isBusyName(name)).to.equal(false);
    });
  }
});
