/** Drops that are both an OCI layout and a docker-archive, and docker-archives as directories. */
import { mkdirSync, readFileSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect } from 'chai';
import type { BundleReading } from '#src/formats/reading.js';
import { sha256, TestContent, type TestDescriptor } from '../support/make-image.js';
import { makeTar } from '../support/make-tar.js';
import { refusal } from '../support/refusal.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { NOTHING, readDirectoryDrop } from './drop-fixture.js';

const OCI = 'application/vnd.oci.image';

/** An image as docker save has written it since version 25: a manifest, and an entry of manifest.json. */
interface TestSaved {
  readonly image: TestDescriptor;
  readonly config: TestDescriptor;
  readonly layers: readonly TestDescriptor[];
  readonly entry: { Config: string; RepoTags: string[] | null; Layers: string[] };
}

describe('an OCI layout with a manifest.json of docker save', () => {
  let path: string;
  let content: TestContent;

  beforeEach(() => {
    path = join(tempDir(), 'drop');
    content = new TestContent();
  });
  afterEach(removeTempDirs);

  const place = ({ digest }: { digest: string }) => `blobs/${digest.replace(':', '/')}`;
  const saved = (texts: readonly string[], tags: string[] | null = null): TestSaved => {
    const tars = texts.map((text) => makeTar([{ path: text, body: text }]));
    const layers = tars.map((tar) => content.add(tar, `${OCI}.layer.v1.tar`));
    const rootfs = { type: 'layers', diff_ids: tars.map(sha256) };
    const config = content.add(
      JSON.stringify({ os: 'linux', architecture: 'amd64', rootfs }),
      `${OCI}.config.v1+json`,
    );
    const mediaType = `${OCI}.manifest.v1+json`;
    const image = content.add(
      JSON.stringify({ schemaVersion: 2, mediaType, config, layers }),
      mediaType,
    );
    const entry = { Config: place(config), RepoTags: tags, Layers: layers.map(place) };
    return { image, config, layers, entry };
  };
  /** @param index what index.json lists, with the name each has there */
  const write = (
    index: readonly (readonly [TestDescriptor, string?])[],
    images: readonly TestSaved[],
    { omit = [] as string[] } = {},
  ) => {
    const roots = index.map(([image, tag]) => ({ image, ...(tag && { tag }) }));
    content.writeLayout(path, roots, { omit });
    put('manifest.json', JSON.stringify(images.map(({ entry }) => entry)));
  };
  const put = (name: string, text: string | Buffer) => {
    mkdirSync(dirname(join(path, name)), { recursive: true });
    writeFileSync(join(path, name), text);
  };
  const read = ({ isEndKnown = true, tag = '' } = {}): BundleReading =>
    readDirectoryDrop(path, { tag: (tag || undefined) as never }, NOTHING, isEndKnown);
  const rootsOf = ({ content: { roots } }: BundleReading) =>
    roots.map(({ digest, tags }) => [digest, tags]);
  const heldIn = ({ content: { leftOut } }: BundleReading) =>
    leftOut.filter(({ isHeld }) => isHeld).map(({ what }) => what);

  it('is read from its index where both name the same images', () => {
    const one = saved(['one'], ['app:1', 'docker.io/library/app:latest']);
    write(
      [
        [one.image, 'docker.io/library/app:1'],
        [one.image, 'app:latest'],
      ],
      [one],
    );
    const reading = read();
    expect(rootsOf(reading)).to.deep.equal([[one.image.digest, ['1', 'latest']]]);
    expect(reading.content).to.deep.include({ leftOut: [], warnings: [] });
    expect(reading.unnamed.saved).to.deep.equal([]);
  });

  it('publishes images named only by manifest.json with their own, unlisted manifest', () => {
    const [one, two] = [saved(['one']), saved(['two', 'more'], ['app:2'])];
    write([[one.image]], [one, two]);
    const reading = read();
    expect(rootsOf(reading)).to.deep.equal([
      [one.image.digest, []],
      [two.image.digest, ['2']],
    ]);
    expect(reading.content.manifests).to.have.length(2);
    expect(reading.content.blobs.map(({ digest }) => digest)).to.have.members(
      [...one.layers, one.config, ...two.layers, two.config].map(({ digest }) => digest),
    );
    expect(heldIn(reading)).to.deep.equal([]);
  });

  it('reads images named only by manifest.json and without manifest as a legacy docker-archive', () => {
    const [one, two] = [saved(['one'], ['app:1']), saved(['two'], ['app:2'])];
    write([[one.image, 'app:1']], [one, two], { omit: [two.image.digest] });
    const { unnamed } = read();
    expect(unnamed.listed.map(({ digest }) => digest)).to.include(one.image.digest);
    expect(unnamed.saved.map(({ names }) => names)).to.deep.equal([['app:2']]);
    expect(unnamed.warnings.join()).to.contain('not that of the registry');
  });

  it('counts all of its images when the drop name gives the tag', () => {
    const [one, two] = [saved(['one']), saved(['two'])];
    write([[one.image]], [one, two]);
    expect(refusal(() => read({ tag: '1' })).code).to.equal('tag.ambiguous');
  });

  it('has the tags of both files', () => {
    const one = saved(['one'], ['app:1', 'app:stable']);
    write([[one.image, 'docker.io/library/app:1']], [one]);
    expect(rootsOf(read())).to.deep.equal([[one.image.digest, ['1', 'stable']]]);
  });

  it('assigns the tags of a platform to the index that lists it', () => {
    const platform = { os: 'linux', architecture: 'amd64' };
    const one = saved(['one'], ['app:1', 'app:stable']);
    const index = content.index([{ ...one.image, platform }]);
    write([[index, 'app:1']], [one]);
    expect(rootsOf(read())).to.deep.equal([[index.digest, ['1', 'stable']]]);
  });

  describe('with an unusable index', () => {
    const indexes: Record<string, string | undefined> = {
      'lists null': '{"schemaVersion":2,"manifests":null}',
      'lists nothing': '{"schemaVersion":2,"manifests":[]}',
      'has no list': '{"schemaVersion":2}',
      'lists something else': '{"schemaVersion":2,"manifests":["sha256:x"]}',
      'is not an object': '[]',
      'is torn': '{"schemaVersion":2,"mani',
      'is empty': '',
      'is missing': undefined,
    };
    for (const [what, index] of Object.entries(indexes)) {
      it(`is read from manifest.json when the index ${what}`, () => {
        const one = saved(['one'], ['app:1']);
        write([[one.image, 'app:1']], [one]);
        if (index === undefined) unlinkSync(join(path, 'index.json'));
        else put('index.json', index);
        const reading = read();
        // Its own manifest is among its blobs.
        expect(rootsOf(reading)).to.deep.equal([[one.image.digest, ['1']]]);
        expect(reading.content.warnings.join()).to.match(/^index\.json cannot be used \(.+\)/);
      });
    }

    it('is read from manifest.json when oci-layout is missing or wrong', () => {
      const one = saved(['one'], ['app:1']);
      write([[one.image, 'app:1']], [one]);
      put('oci-layout', '{}');
      expect(rootsOf(read())).to.deep.equal([[one.image.digest, ['1']]]);
      unlinkSync(join(path, 'oci-layout'));
      expect(rootsOf(read())).to.deep.equal([[one.image.digest, ['1']]]);
    });

    it('is read from manifest.json when nothing listed in the index is present', () => {
      const one = saved(['one'], ['app:1']);
      const gone = new TestContent().image({ layers: ['gone'] });
      write([[gone]], [one]);
      expect(rootsOf(read())).to.deep.equal([[one.image.digest, ['1']]]);
      expect(read({ isEndKnown: false }).missing.map(({ digest }) => digest)).to.deep.equal([
        gone.digest,
      ]);
    });

    it('waits, as a directory, for an index that may still arrive', () => {
      const one = saved(['one'], ['app:1']);
      write([[one.image, 'app:1']], [one]);
      for (const name of ['index.json', 'oci-layout']) {
        const text = readFileSync(join(path, name));
        unlinkSync(join(path, name));
        expect(read({ isEndKnown: false }).missing.map((each) => each.path)).to.deep.equal([name]);
        put(name, text);
      }
      put('index.json', '{"schemaVersion":2,"manifests":null}');
      expect(rootsOf(read({ isEndKnown: false }))).to.deep.equal([[one.image.digest, ['1']]]);
    });

    it('does not wait for files of a layout that never existed', () => {
      // As apko writes it: an index beside a docker-archive, and no blobs.
      const tar = makeTar([{ path: 'a', body: 'a' }]);
      const config = JSON.stringify({ rootfs: { diff_ids: [sha256(tar)] } });
      put(sha256(config), config);
      put('layer.tar.gz', tar);
      const entry = { Config: sha256(config), RepoTags: ['app:1'], Layers: ['layer.tar.gz'] };
      put('manifest.json', JSON.stringify([entry]));
      const image = new TestContent().image();
      put('index.json', JSON.stringify({ schemaVersion: 2, manifests: [image] }));
      const { unnamed, missing } = read({ isEndKnown: false });
      expect(missing).to.deep.equal([]);
      expect(unnamed.saved.map(({ names }) => names)).to.deep.equal([['app:1']]);
    });

    it('is incomplete when both files are incomplete', () => {
      const one = saved(['one'], ['app:1']);
      write([], [one], { omit: one.layers.map(({ digest }) => digest) });
      const missing = (isEndKnown: boolean) =>
        read({ isEndKnown }).missing.map((each) => each.path);
      const layers = one.layers.map(place);
      expect([missing(false), missing(true)]).to.deep.equal([layers, layers]);
    });
  });

  describe('reports as left out:', () => {
    it('an image whose files are missing, without waiting for them forever', () => {
      const [one, two] = [saved(['one'], ['app:1']), saved(['two'], ['app:2'])];
      const omit = [two.image, ...two.layers].map(({ digest }) => digest);
      write([[one.image, 'app:1']], [one, two], { omit });
      expect(read({ isEndKnown: false }).missing.map((each) => each.path)).to.deep.equal(
        two.layers.map(place),
      );
      const reading = read();
      expect(reading.missing).to.deep.equal([]);
      expect(rootsOf(reading)).to.deep.equal([[one.image.digest, ['1']]]);
      expect(heldIn(reading)).to.deep.equal(two.layers.map(place));
    });

    it('an unreadable manifest.json', () => {
      const one = saved(['one'], ['app:1']);
      write([[one.image, 'app:1']], [one]);
      put('manifest.json', '[{"Config": 1}]');
      expect(heldIn(read())).to.deep.equal(['manifest.json']);
    });

    it('images without a name, but not the images they list', () => {
      const platform = { os: 'linux', architecture: 'amd64' };
      const [one, two, three] = [saved(['one']), saved(['two']), saved(['three'])];
      const index = content.index([{ ...two.image, platform }]);
      write([[one.image]], [one]);
      expect(heldIn(read())).to.have.members([index.digest, three.image.digest]);
      unlinkSync(join(path, 'manifest.json'));
      expect(heldIn(read()), 'without a manifest.json').to.have.members([
        index.digest,
        three.image.digest,
      ]);
    });

    it('unreferenced blobs, without a warning', () => {
      const one = saved(['one']);
      const blob = content.add('a blob', 'text/plain');
      const json = content.add('{"id":"as of old"}', 'application/json');
      write([[one.image]], [one]);
      const { leftOut } = read().content;
      expect(leftOut.map(({ what }) => what)).to.have.members([blob.digest, json.digest]);
      expect(leftOut.some(({ isHeld }) => isHeld)).to.equal(false);
    });

    it('only the number when there are very many', () => {
      const [one, ...others] = Array.from({ length: 31 }, (_, at) => saved([`layer ${at}`]));
      if (one === undefined) throw new Error('none');
      write([[one.image]], [one]);
      const [held] = heldIn(read());
      expect(held).to.match(/^30 images: sha256:.* and 10 more$/);
      expect(others.some(({ image }) => held?.includes(image.digest))).to.equal(true);
    });

    it('tags found only in the repositories file', () => {
      const one = saved(['one'], ['app:1', 'docker.io/library/app:2']);
      write([[one.image, 'app:1']], [one]);
      const layer = 'a'.repeat(64);
      const tags = { app: { 1: layer, 2: layer, lost: layer }, 'team/other': { 3: layer } };
      put('repositories', JSON.stringify(tags));
      expect(heldIn(read())).to.deep.equal(['app:lost', 'team/other:3']);
    });
  });
});

describe('a docker-archive as a directory', () => {
  let path: string;
  beforeEach(() => {
    path = join(tempDir(), 'drop');
  });
  afterEach(removeTempDirs);

  const put = (name: string, text: string | Buffer) => {
    mkdirSync(dirname(join(path, name)), { recursive: true });
    writeFileSync(join(path, name), text);
  };
  const read = (isEndKnown = false) =>
    readDirectoryDrop(path, { tag: undefined }, NOTHING, isEndKnown);
  const tar = makeTar([{ path: 'a', body: 'a' }]);
  const config = JSON.stringify({ rootfs: { diff_ids: [sha256(tar)] } });
  const Config = `${sha256(config).slice(7)}.json`;
  const layer = `${'1'.repeat(64)}/layer.tar`;
  const write = () => {
    put(Config, config);
    put(layer, tar);
    put('manifest.json', JSON.stringify([{ Config, RepoTags: ['app:1'], Layers: [layer] }]));
  };

  it('is read, with legacy layers', () => {
    write();
    const [image] = read().unnamed.saved;
    expect(image?.names).to.deep.equal(['app:1']);
    expect(image?.layers).to.deep.equal([
      { path: layer, source: { path: layer }, size: tar.length, diffId: sha256(tar) },
    ]);
  });

  it('follows layer links to other files inside the archive, and no others', () => {
    write();
    const target = `${'2'.repeat(64)}/layer.tar`;
    put(target, tar);
    rmSync(join(path, layer));
    symlinkSync(`../${target}`, join(path, layer));
    expect(read().unnamed.saved[0]?.layers[0]?.source).to.deep.equal({ path: target });
    for (const [link, code] of [
      ['/etc/passwd', 'path.outside'],
      ['../../../etc/passwd', 'path.outside'],
      [`../${'3'.repeat(64)}/layer.tar`, undefined],
    ] as const) {
      rmSync(join(path, layer));
      symlinkSync(link, join(path, layer));
      if (code) expect(refusal(read).code, link).to.equal(code);
      else expect(read().missing.map((each) => each.path)).to.deep.equal([layer]);
    }
    symlinkSync(`../${layer}`, join(path, `${'3'.repeat(64)}.tar`));
    rmSync(join(path, target));
    symlinkSync('/etc/passwd', join(path, target));
    rmSync(join(path, layer));
    symlinkSync(`../${target}`, join(path, layer));
    expect(refusal(read).code, 'a link of a link').to.equal('path.outside');
  });

  it('waits for an incomplete layer, config or manifest.json', () => {
    write();
    const missing = () => read().missing.map((each) => each.path);
    rmSync(join(path, layer));
    expect(missing()).to.deep.equal([layer]);
    put(Config, config.slice(0, -3));
    expect(missing()).to.deep.equal([Config]);
    put('manifest.json', '[{"Config":"x"');
    expect(missing()).to.deep.equal(['manifest.json']);
  });

  it('is rejected when a config never matches the digest in its name: digest.mismatch', () => {
    write();
    put(Config, '{}');
    expect(refusal(read).code).to.equal('digest.mismatch');
  });

  it('reports images that its manifest.json does not name', () => {
    write();
    const other = JSON.stringify({ os: 'linux', rootfs: { diff_ids: [sha256('other')] } });
    put(`${sha256(other).slice(7)}.json`, other);
    put(`${'4'.repeat(64)}.json`, '{"neither": "of them"}');
    const { leftOut } = read().unnamed;
    expect(leftOut).to.have.length(1);
    expect(leftOut[0]).to.include({ what: `${sha256(other).slice(7)}.json`, isHeld: true });
  });
});
