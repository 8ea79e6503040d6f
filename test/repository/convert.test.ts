import { expect } from 'chai';
import type { Digest } from '#src/image/digest.js';
import { parseManifest } from '#src/image/manifest.js';
import { type ConversionResult, convertAll } from '#src/repository/convert.js';
import { type RepositoryState, toManifestRecord } from '#src/repository/state.js';
import { sha256, TestContent, type TestDescriptor } from '../support/make-image.js';
import { removeTempDirs } from '../support/temp-dir.js';
import { digest, dropped, nothing, staged } from './drop-state.js';

const DOCKER = 'application/vnd.docker';
const AMD64 = { os: 'linux', architecture: 'amd64' };
const ARM64 = { os: 'linux', architecture: 'arm64', variant: 'v8' };

interface Document {
  readonly mediaType: string;
  readonly manifests: readonly { digest: string; size: number; platform: object }[];
}

describe('the Docker form of an image', () => {
  let content: TestContent;
  let state: RepositoryState;

  beforeEach(() => {
    content = new TestContent();
  });
  afterEach(removeTempDirs);

  const load = (wanted: Digest) => {
    const bytes = content.blobs.get(wanted);
    if (bytes === undefined) throw new Error(`${wanted} was never made`);
    return bytes;
  };
  const convert = (
    image: TestDescriptor,
    known: ConversionResult['conversions'] = new Map(),
  ): ConversionResult => {
    state = dropped(nothing(), staged(content, [{ image, tag: '1.0' }])).state;
    return convertAll([digest(image)], known, { manifests: state.manifests, load });
  };
  const documents = ({ made }: ConversionResult) =>
    made.map(({ bytes }) => JSON.parse(bytes.toString('utf8')) as Document);

  it('has the same blobs under Docker’s names, byte for byte the same on every run', () => {
    const image = content.image({ layers: ['one'] });
    const { made, conversions, leftOut } = convert(image);
    const [config, layer] = state.manifests.get(digest(image))?.blobs ?? [];
    const text = `{
   "schemaVersion": 2,
   "mediaType": "${DOCKER}.distribution.manifest.v2+json",
   "config": {
      "mediaType": "${DOCKER}.container.image.v1+json",
      "size": ${config?.size},
      "digest": "${config?.digest}"
   },
   "layers": [
      {
         "mediaType": "${DOCKER}.image.rootfs.diff.tar.gzip",
         "size": ${layer?.size},
         "digest": "${layer?.digest}"
      }
   ]
}`;
    expect(made.map(({ bytes }) => bytes.toString('utf8'))).to.deep.equal([text]);
    expect([...conversions]).to.deep.equal([[image.digest, sha256(text)]]);
    expect(leftOut).to.deep.equal([]);
  });

  it('has a record with its own size and the blobs of the original', () => {
    const image = content.image({ layers: ['one', 'two'] });
    const [made] = convert(image).made;
    expect(made?.record.size).to.equal(made?.bytes.length);
    expect(made?.record.blobs).to.deep.equal(state.manifests.get(digest(image))?.blobs);
    expect(made?.digest).to.equal(sha256(made?.bytes ?? ''));
  });

  it('has the same record as parsing it would give', () => {
    const image = content.image({ layers: ['one', 'one', 'two'], subject: content.image() });
    const [made] = convert(image).made;
    if (made === undefined) expect.fail('nothing was made');
    const manifest = parseManifest(made.bytes, undefined, made.digest);
    const sizes = new Map(made.record.blobs.map((blob) => [blob.digest, blob.size]));
    const read = toManifestRecord({ manifest, size: made.bytes.length }, sizes);
    expect(made.record).to.deep.equal(read);
  });

  it('gives a foreign layer its Docker media type', () => {
    const layerType = 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip';
    const { made } = convert(content.image({ layers: ['foreign'], layerType }));
    expect(made[0]?.bytes.toString()).to.include(`${DOCKER}.image.rootfs.foreign.diff.tar.gzip`);
  });

  it('is the image itself when that is already Docker’s', () => {
    const image = content.image({ docker: true });
    const { made, conversions } = convert(image);
    expect(made).to.deep.equal([]);
    expect(conversions.size).to.equal(0);
  });

  const withoutForm: readonly [string, Parameters<TestContent['image']>[0], string][] = [
    ['a zstd layer', { layerType: 'application/vnd.oci.image.layer.v1.tar+zstd' }, 'tar+zstd'],
    ['an artifact', { configType: 'application/vnd.oci.empty.v1+json' }, 'artifact'],
  ];
  for (const [what, options, why] of withoutForm) {
    it(`does not exist for ${what}, and the receipt says so`, () => {
      const image = content.image(options);
      const { made, conversions, leftOut } = convert(image);
      expect(made).to.deep.equal([]);
      expect([...conversions]).to.deep.equal([[image.digest, null]]);
      expect(leftOut.map((each) => each.what)).to.deep.equal([image.digest]);
      expect(leftOut[0]?.why).to.include(why);
    });
  }

  it('does not exist for images that older versions accepted and now fail, without blocking others', () => {
    const image = content.image();
    const body = JSON.parse(String(content.blobs.get(image.digest)));
    const both = content.add(JSON.stringify({ ...body, manifests: [] }), image.mediaType);
    state = dropped(nothing(), staged(content, [{ image, tag: '1.0' }])).state;
    const [record] = state.manifests.values();
    if (record === undefined) expect.fail('there is no record');
    const manifests = new Map([...state.manifests, [digest(both), record]]);
    const { conversions, leftOut } = convertAll([digest(both), digest(image)], new Map(), {
      manifests,
      load,
    });
    expect(conversions.get(digest(both))).to.equal(null);
    expect(conversions.get(digest(image))).to.be.a('string');
    expect(leftOut.map(({ what }) => what)).to.deep.equal([both.digest]);
    expect(leftOut[0]?.why).to.contain('is both');
  });

  it('is not created a second time', () => {
    const image = content.image();
    const { conversions } = convert(image);
    const again = convert(image, conversions);
    expect(again.made).to.deep.equal([]);
    expect([...again.conversions]).to.deep.equal([...conversions]);
  });

  describe('of an index', () => {
    it('is a list with every platform of the original', () => {
      const os = { os: 'windows', architecture: 'amd64', 'os.version': '10.0.17763.1' };
      const platforms = [AMD64, ARM64, os];
      const index = content.index(
        platforms.map((platform) =>
          content.image({ layers: [JSON.stringify(platform)], platform }),
        ),
      );
      const result = convert(index);
      const list = documents(result).at(-1);
      expect(list?.mediaType).to.equal(`${DOCKER}.distribution.manifest.list.v2+json`);
      expect(list?.manifests.map(({ platform }) => platform)).to.deep.equal(platforms);
      for (const { digest: child, size } of list?.manifests ?? []) {
        expect(result.made.find((each) => each.digest === child)?.bytes.length).to.equal(size);
      }
      expect(result.conversions.get(digest(index))).to.equal(result.made.at(-1)?.digest);
    });

    it('omits attestations and reports them', () => {
      const image = content.image({ platform: AMD64 });
      const platform = { os: 'unknown', architecture: 'unknown' };
      const attestation = content.image({ layers: ['sbom'], platform });
      const result = convert(content.index([image, attestation]));
      expect(documents(result).at(-1)?.manifests).to.have.length(1);
      expect(result.leftOut.map(({ what }) => what)).to.deep.equal([attestation.digest]);
    });

    it('omits a platform without a Docker form, and keeps the others', () => {
      const zstd = 'application/vnd.oci.image.layer.v1.tar+zstd';
      const good = content.image({ layers: ['good'], platform: AMD64 });
      const bad = content.image({ layers: ['bad'], platform: ARM64, layerType: zstd });
      const result = convert(content.index([good, bad]));
      expect(
        documents(result)
          .at(-1)
          ?.manifests.map((each) => each.platform),
      ).to.deep.equal([AMD64]);
      expect(result.leftOut.map(({ what }) => what)).to.deep.equal([bad.digest]);
    });

    it('omits a nested index', () => {
      const good = content.image({ layers: ['good'], platform: AMD64 });
      const inner = content.index([content.image({ layers: ['inner'], platform: ARM64 })]);
      const result = convert(content.index([good, { ...inner, platform: ARM64 }]));
      expect(documents(result).at(-1)?.manifests).to.have.length(1);
      expect(result.leftOut.map(({ what }) => what)).to.deep.equal([inner.digest]);
    });

    it('omits an entry that is listed as an image and is an index', () => {
      const good = content.image({ layers: ['good'], platform: AMD64 });
      const inner = content.index([content.image({ layers: ['inner'], platform: ARM64 })]);
      const innerBytes = new Map(content.blobs);
      const called = { ...inner, mediaType: good.mediaType, platform: ARM64 };
      content.blobs.delete(inner.digest);
      const index = content.index([good, called]);
      const first = dropped(nothing(), staged(content, [{ image: index, tag: '1.0' }])).state;
      for (const [name, bytes] of innerBytes) content.blobs.set(name, bytes);
      const { manifests } = dropped(first, staged(content, [{ image: inner }])).state;
      const result = convertAll([digest(index)], new Map(), { manifests, load });
      expect(result.conversions.get(digest(inner)), 'the inner one has a form').to.be.a('string');
      const lists = documents(result).filter(({ mediaType }) => mediaType.includes('list'));
      const [outer] = lists.filter((list) =>
        list.manifests.some(
          ({ platform }) => 'architecture' in platform && platform.architecture === 'amd64',
        ),
      );
      expect(outer?.manifests.map((each) => each.platform)).to.deep.equal([AMD64]);
      // And it holds: another look makes nothing new.
      const known = new Map([
        ...manifests,
        ...result.made.map((each) => [each.digest, each.record] as const),
      ]);
      const again = convertAll([digest(index)], result.conversions, { manifests: known, load });
      expect(again.made).to.deep.equal([]);
    });

    it('includes images that are already Docker’s unchanged', () => {
      const child = content.image({ docker: true, platform: AMD64 });
      const result = convert(content.index([child]));
      const [entry] = documents(result).at(-1)?.manifests ?? [];
      expect(entry).to.include({ digest: child.digest, size: child.size });
      expect(result.made).to.have.length(1);
    });

    it('does not exist when none of its images has one', () => {
      const image = content.image({ platform: { os: 'unknown', architecture: 'unknown' } });
      const index = content.index([image]);
      const { made, conversions } = convert(index);
      expect(made).to.deep.equal([]);
      expect(conversions.get(digest(index))).to.equal(null);
    });
  });
});
