import { expect } from 'chai';
import {
  defaultRepositoryId,
  flatDropName,
  isBusyName,
  parseDropName,
  parseImageReference,
  parseRepositoryId,
  parseRepositoryName,
  parseTag,
} from '#src/image/names.js';
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

  it('are refused in no time, whatever they are made of', () => {
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
  it('are the name with ~ for /, which no name holds', () => {
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
    [`app:1@${'x'.repeat(200)}`, 'name.invalid'],
  ];
  for (const [path, code] of bad) {
    it(`refuses ${path.slice(0, 30)}: ${code}`, () => {
      expect(refusal(() => parseDropName(path, false)).code).to.equal(code);
    });
  }

  it('means the same drop by its flat name', () => {
    for (const path of ['team/app:1.2@x', 'a/b/c']) {
      expect(parseDropName(flatDropName(path), false)).to.deep.equal(parseDropName(path, false));
    }
  });
});

describe('parseImageReference', () => {
  const cases: readonly [string, string | undefined, string | undefined][] = [
    ['1.2', undefined, '1.2'],
    ['latest', undefined, 'latest'],
    ['team/app:1.2', 'team/app', '1.2'],
    ['registry.example:5000/team/app:1.2', 'registry.example:5000/team/app', '1.2'],
    ['registry.example:5000/team/app', 'registry.example:5000/team/app', undefined],
    [`team/app:1.2@sha256:${'a'.repeat(64)}`, 'team/app', '1.2'],
    ['team/app:not a tag', 'team/app', undefined],
  ];
  for (const [text, repository, tag] of cases) {
    it(`finds ${tag === undefined ? 'no tag' : `the tag ${tag}`} in ${text.slice(0, 40)}`, () => {
      expect(parseImageReference(text)).to.deep.equal({ repository, tag });
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
