import { mkdirSync, renameSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { TestContent } from '../support/make-image.js';
import { refusal } from '../support/refusal.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { readDirectoryDrop, readDrop, rootsOf } from './drop-fixture.js';
import { describeReader } from './reader-suite.js';

const place = (digest: string) => `blobs/${digest.replace(':', '/')}`;

describe('OCI image layout', () => {
  describeReader({
    entry: 'index.json',
    write: (path, content, image) => {
      mkdirSync(join(path, 'blobs', 'sha512'), { recursive: true });
      content.writeLayout(path, [{ image }]);
    },
    blob: place,
    manifest: place,
  });
});

describe('an OCI image layout', () => {
  let path: string;
  let content: TestContent;

  beforeEach(() => {
    path = join(tempDir(), 'drop');
    content = new TestContent();
  });
  afterEach(removeTempDirs);

  it('assigns all listed tags to one image', () => {
    const image = content.image();
    content.writeLayout(
      path,
      ['1.0', 'latest', '1'].map((tag) => ({ image, tag })),
    );
    expect(rootsOf(readDrop(path))).to.deep.equal([
      { digest: image.digest, tags: ['1', '1.0', 'latest'] },
    ]);
  });

  it('keeps the tag of a full reference and drops its repository', () => {
    const image = content.image();
    content.writeLayout(path, [{ image, tag: 'registry.example:5000/other/name:2.0' }]);
    expect(readDrop(path).content.roots[0]?.tags).to.deep.equal(['2.0']);
  });

  it('reads the name containerd writes', () => {
    const image = content.image();
    const annotations = { 'io.containerd.image.name': 'docker.io/library/app:3.0' };
    content.writeLayout(path, [{ image: { ...image, annotations } }]);
    expect(readDrop(path).content.roots[0]?.tags).to.deep.equal(['3.0']);
  });

  it('prefers the tag in the drop name over the tag in the layout', () => {
    const image = content.image();
    content.writeLayout(path, [{ image, tag: 'inside' }]);
    expect(rootsOf(readDrop(path, 'outside'))).to.deep.equal([
      { digest: image.digest, tags: ['outside'] },
    ]);
  });

  it('reports only the layout tags that the drop name overrides', () => {
    const image = content.image();
    content.writeLayout(
      path,
      ['app:1', '2'].map((tag) => ({ image, tag })),
    );
    expect(readDrop(path, '1').content.warnings).to.deep.equal([
      "tagged 1 as in the drop's name; its tag inside is 2",
    ]);
    content.writeLayout(path, [{ image, tag: 'app:1' }]);
    expect(readDrop(path, '1').content.warnings).to.deep.equal([]);
  });

  it('reads an image without a tag', () => {
    const image = content.image();
    content.writeLayout(path, [{ image }]);
    expect(rootsOf(readDrop(path))).to.deep.equal([{ digest: image.digest, tags: [] }]);
  });

  it('reports invalid tags as warnings', () => {
    const [one, two] = [content.image(), content.image({ layers: ['two'] })];
    content.writeLayout(path, [
      { image: one, tag: 'v1.20.4+k3s1' },
      { image: two, tag: 'good' },
      { image: two, tag: 'team/app:v2+bad' },
    ]);
    const reading = readDrop(path);
    expect(rootsOf(reading)).to.deep.equal([
      { digest: one.digest, tags: [] },
      { digest: two.digest, tags: ['good'] },
    ]);
    const [untagged, other] = reading.content.warnings;
    expect(untagged).to.contain(one.digest).and.to.contain('(invalid: "v1.20.4+k3s1")');
    expect(other).to.contain(two.digest).and.to.contain('invalid tag "v2+bad"');
  });

  it('assigns no tag for a reference that is only a digest', () => {
    const image = content.image();
    const { digest } = image;
    const hex = digest.slice('sha256:'.length);
    content.writeLayout(path, [
      { image, tag: digest },
      { image, tag: `@${digest}` },
    ]);
    expect(rootsOf(readDrop(path))).to.deep.equal([{ digest, tags: [] }]);
    // Where it stands as a tag it is one, as tools name what they cache.
    content.writeLayout(path, [{ image, tag: hex }]);
    expect(rootsOf(readDrop(path))).to.deep.equal([{ digest, tags: [hex] }]);
  });

  it('assigns the tag of the drop name to the image, not to its signature', () => {
    const image = content.image();
    const signature = content.image({ layers: ['sig'], subject: image });
    content.writeLayout(path, [{ image: signature }, { image }]);
    expect(rootsOf(readDrop(path, '1.0'))).to.deep.equal([
      { digest: signature.digest, tags: [] },
      { digest: image.digest, tags: ['1.0'] },
    ]);
  });

  it('assigns the tag of the drop name to the index, not to its images listed again', () => {
    const child = content.image({ platform: { os: 'linux', architecture: 'amd64' } });
    const index = content.index([child]);
    content.writeLayout(path, [{ image: child }, { image: index }]);
    const tagged = rootsOf(readDrop(path, '1.0')).filter(({ tags }) => tags.length > 0);
    expect(tagged).to.deep.equal([{ digest: index.digest, tags: ['1.0'] }]);
  });

  it('reports listed entries that are not manifests as left out', () => {
    const image = content.image();
    const text = content.add('text', 'text/plain');
    content.writeLayout(path, [{ image, tag: '1.0' }, { image: text }]);
    const { roots, leftOut } = readDrop(path).content;
    expect(roots).to.have.length(1);
    expect(leftOut.map(({ what, isHeld }) => [what, isHeld])).to.deep.equal([[text.digest, true]]);
  });

  it('keeps all names for a bundle, whose repositories come from its content', () => {
    const names = ['docker.io/library/a:1', 'docker.io/library/b:1'];
    const roots = names.map((tag) => ({ tag, image: content.image({ layers: [tag] }) }));
    content.writeLayout(path, roots);
    const wanted = { tag: undefined, fromInside: true };
    const read = readDirectoryDrop(path, wanted).content.roots;
    expect(read.map((root) => root.names)).to.deep.equal(names.map((name) => [name]));
    expect(read.every(({ tags }) => tags.length === 0)).to.equal(true);
  });

  describe('refuses', () => {
    it('a tag in the drop name when the layout holds several images: tag.ambiguous', () => {
      const images = ['one', 'two'].map((layer) => ({ image: content.image({ layers: [layer] }) }));
      content.writeLayout(path, images);
      const { code, details } = refusal(() => readDrop(path, '1.0'));
      expect(code).to.equal('tag.ambiguous');
      expect(details.images).to.deep.equal(images.map(({ image }) => image.digest));
    });

    it('two images for one tag, also through different names: tag.conflict', () => {
      const names = ['docker.io/library/a:1', 'docker.io/library/b:1'];
      content.writeLayout(
        path,
        names.map((tag) => ({ tag, image: content.image({ layers: [tag] }) })),
      );
      const { code, details } = refusal(() => readDrop(path));
      expect(code).to.equal('tag.conflict');
      expect(details.path).to.equal('1');
    });

    for (const directory of ['blobs', 'blobs/sha256']) {
      it(`a link in place of ${directory}/: path.outside`, () => {
        content.writeLayout(path, [{ image: content.image(), tag: '1.0' }]);
        const aside = join(tempDir(), 'aside');
        renameSync(join(path, directory), aside);
        symlinkSync(aside, join(path, directory));
        expect(refusal(() => readDrop(path)).code).to.equal('path.outside');
      });
    }

    it('an oci-layout file with invalid content: json.invalid', () => {
      content.writeLayout(path, [{ image: content.image() }]);
      writeFileSync(join(path, 'oci-layout'), '{"imageLayoutVersion":1}');
      expect(refusal(() => readDrop(path)).code).to.equal('json.invalid');
    });

    it('an index.json above the size limit: limit.exceeded', () => {
      content.writeLayout(path, [{ image: content.image() }]);
      truncateSync(join(path, 'index.json'), 32 * 1024 * 1024 + 1);
      expect(refusal(() => readDrop(path)).code).to.equal('limit.exceeded');
    });

    it('an index.json that is not an object: json.invalid', () => {
      content.writeLayout(path, [{ image: content.image() }]);
      writeFileSync(join(path, 'index.json'), '[]');
      expect(refusal(() => readDrop(path)).code).to.equal('json.invalid');
    });
  });

  describe('is incomplete', () => {
    const cases: readonly [string, () => void, string][] = [
      ['without its oci-layout', () => rmSync(join(path, 'oci-layout')), 'oci-layout'],
      ['without its index.json', () => rmSync(join(path, 'index.json')), 'index.json'],
      [
        'while its oci-layout is empty',
        () => writeFileSync(join(path, 'oci-layout'), ''),
        'oci-layout',
      ],
      [
        'while its index.json lists nothing, as crane and oras start',
        () => writeFileSync(join(path, 'index.json'), '{"schemaVersion":2,"manifests":[]}'),
        'index.json',
      ],
    ];
    for (const [what, spoil, named] of cases) {
      it(what, () => {
        content.writeLayout(path, [{ image: content.image(), tag: '1.0' }]);
        spoil();
        const { missing } = readDrop(path);
        expect(missing).to.have.length(1);
        expect(missing[0]?.path).to.include(named);
        expect(missing[0]?.tolerable).to.equal(false);
      });
    }
  });
});
