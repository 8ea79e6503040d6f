import { expect } from 'chai';
import { combineNames, repositoryOfReference, splitBundle } from '#src/image/bundle.js';
import type { Digest } from '#src/image/digest.js';
import { parseManifest } from '#src/image/manifest.js';
import type { StagedContent, StagedManifest } from '#src/image/staged-content.js';
import { TestContent, type TestDescriptor } from '../support/make-image.js';
import { refusal } from '../support/refusal.js';

const HEX = 'a'.repeat(64);

describe('repositoryOfReference', () => {
  for (const hub of [
    'index.docker.io/library/x',
    'docker.io/library/x',
    'docker.io/x',
    'library/x',
  ]) {
    it(`maps ${hub} to x`, () => {
      for (const rest of ['', ':1', `:1@sha256:${HEX}`, `@sha256:${HEX}`]) {
        const text = `${hub}${rest}`;
        expect(repositoryOfReference(text, ''), text).to.equal('x');
        expect(repositoryOfReference(text, 'mirror'), text).to.equal('mirror/x');
      }
    });
  }

  const others: readonly [string, string][] = [
    ['x:1', 'x'],
    ['team/x', 'team/x'],
    ['docker.io/team/x', 'team/x'],
    ['quay.io/library/x:1', 'library/x'],
    ['localhost/library/x:1', 'library/x'],
    ['localhost:5000/x', 'x'],
    ['library/team/x', 'library/team/x'],
    ['library:1', 'library'],
  ];
  for (const [reference, repository] of others) {
    it(`maps ${reference} to ${repository}`, () => {
      expect(repositoryOfReference(reference, '')).to.equal(repository);
    });
  }
});

describe('combineNames', () => {
  const full = 'registry.example/team/app:1.0';
  const cases: readonly [string, string[], string[], string[]][] = [
    ['a tag beside a full name', [full], ['1.0'], [full, '1.0']],
    ['a tag with a digest', [full], [`1.0@sha256:${HEX}`], [full, '1.0']],
    ['a name without a registry', [full], ['app:2.0'], [full, '2.0']],
    ['a name without a registry or tag', [full], ['team/app'], [full, '']],
    ['another full name', [full], ['quay.io/other:1'], [full, 'quay.io/other:1']],
    ['a name alone', [], ['team/app:1.0'], ['team/app:1.0']],
    ['a name beside an unnamed entry', [`sha256:${HEX}`], ['app:1'], [`sha256:${HEX}`, 'app:1']],
  ];
  for (const [what, given, short, names] of cases) {
    it(`returns ${names.join(' ')} for ${what}`, () => {
      expect(combineNames(given, short)).to.deep.equal(names);
    });
  }
});

describe('splitBundle', () => {
  let content: TestContent;
  beforeEach(() => {
    content = new TestContent();
  });

  const image = (layer: string, more: object = {}) => content.image({ layers: [layer], ...more });
  function staged(roots: readonly [TestDescriptor, ...string[]][]): StagedContent {
    const manifests = [...content.blobs].flatMap(([digest, bytes]): StagedManifest[] => {
      if (bytes[0] !== 0x7b || !bytes.includes('schemaVersion')) return [];
      const manifest = parseManifest(bytes, undefined, digest as Digest);
      return [{ digest: digest as Digest, size: bytes.length, manifest, bytes }];
    });
    return {
      roots: roots.map(([{ digest }, ...names]) => ({ digest: digest as Digest, tags: [], names })),
      manifests,
      blobs: [],
      leftOut: [],
      warnings: [],
    };
  }
  const split = (...roots: [TestDescriptor, ...string[]][]) => {
    const { parts, refused } = splitBundle(staged(roots), 'ns');
    return {
      tags: Object.fromEntries(
        [...parts].map(([name, part]) => [name, part.roots.flatMap((root) => root.tags)]),
      ),
      digests: Object.fromEntries(
        [...parts].map(([name, part]) => [name, part.roots.map((root) => root.digest)]),
      ),
      refused: refused.map(({ name, error }) => `${name} ${error.code}`),
      messages: refused.map(({ error }) => error.message),
    };
  };

  it('publishes name@digest by digest, and name:tag@digest by tag', () => {
    const [one, two] = [image('one'), image('two')];
    const found = split(
      [one, `reg.example/one@${one.digest}`],
      [two, `reg.example/two:1@${two.digest}`],
    );
    expect(found.tags).to.deep.equal({ 'ns/one': [], 'ns/two': ['1'] });
    expect(found.digests['ns/one']).to.deep.equal([one.digest]);
    expect(found.refused).to.deep.equal([]);
  });

  it('merges all spellings of a Docker Hub name into one repository', () => {
    const names = [
      'index.docker.io/library/x:1',
      'docker.io/library/x:2',
      'docker.io/x:3',
      'library/x:4',
      'x:5',
    ];
    const roots = names.map((name): [TestDescriptor, string] => [image(name), name]);
    expect(split(...roots).tags).to.deep.equal({ 'ns/x': ['1', '2', '3', '4', '5'] });
  });

  it('rejects only the invalid name, also of an image with a valid one', () => {
    const good = image('good');
    const found = split(
      [good, 'reg.example/good:1', 'reg.example/Team/Bad:1'],
      [image('bad'), 'reg.example/app:v1.20.4+k3s1'],
      [image('long'), `${'x'.repeat(201)}:1`],
    );
    expect(found.tags).to.deep.equal({ 'ns/good': ['1'] });
    expect(found.refused).to.deep.equal([
      'reg.example/Team/Bad:1 name.invalid',
      'reg.example/app:v1.20.4+k3s1 tag.invalid',
      `${'x'.repeat(201)}:1 name.invalid`,
    ]);
    expect(found.messages[0]).to.contain(good.digest).and.to.contain('"reg.example/Team/Bad:1"');
    expect(found.messages[1]).to.contain('"v1.20.4+k3s1" is not a valid tag');
  });

  it('rejects only the image without a name, and identifies it', () => {
    const [none, pinned, tagged] = [image('none'), image('pinned'), image('tagged')];
    const found = split(
      [image('good'), 'a:1'],
      [none],
      [pinned, `sha256:${HEX}`],
      [tagged, '1.0'],
      [image('bad'), 'v1+k3s1'],
    );
    expect(found.tags).to.deep.equal({ 'ns/a': ['1'] });
    expect(found.refused).to.deep.equal([
      `${none.digest} name.invalid`,
      `${pinned.digest} name.invalid`,
      `${tagged.digest} name.invalid`,
      'v1+k3s1 name.invalid',
    ]);
    expect(found.messages[3]).to.contain('"v1+k3s1" is neither a valid tag nor a full name');
  });

  it('publishes unnamed platforms and signatures with the image they belong to', () => {
    const child = image('amd64', { platform: { os: 'linux', architecture: 'amd64' } });
    const index = content.index([child]);
    const signature = image('signature', { subject: index });
    const stray = image('stray', { subject: image('elsewhere') });
    const found = split([child], [signature, `@${signature.digest}`], [stray], [index, 'a:1']);
    expect(found.digests).to.deep.equal({ 'ns/a': [index.digest, signature.digest] });
    expect(found.refused).to.deep.equal([`${stray.digest} name.invalid`]);
  });

  it('throws the first error when no name is valid', () => {
    const { code, message } = refusal(() => split([image('bad'), 'Bad:1'], [image('other')]));
    expect(code).to.equal('name.invalid');
    expect(message).to.contain('"Bad:1"');
  });
});
