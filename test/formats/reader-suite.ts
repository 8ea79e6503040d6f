/** Requirements for every reader of a directory drop, whatever its format. */
import { createHash } from 'node:crypto';
import { rmSync, truncateSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { layerBytes, sha256, TestContent } from '../support/make-image.js';
import {
  AMD64,
  ARM64,
  DropFixture,
  LAYER,
  NOTHING,
  type ReaderFormat,
  readDrop,
  rootsOf,
} from './drop-fixture.js';
import { describeRefusals } from './reader-refusals.js';

export function describeReader(format: ReaderFormat): void {
  const drop = new DropFixture(format);
  describeRefusals(drop);

  describe('reads', () => {
    it('returns the image, its blobs with sizes, and the location of each', () => {
      const image = drop.content.image({ layers: ['one', 'two'] });
      drop.write(image);
      const reading = readDrop(drop.path, '1.0');
      const { content: read, missing } = reading;
      expect(missing).to.deep.equal([]);
      expect(rootsOf(reading)).to.deep.equal([{ digest: image.digest, tags: ['1.0'] }]);
      expect(read.blobs).to.have.length(3);
      for (const text of ['one', 'two']) {
        expect(read.blobs).to.deep.include({
          digest: sha256(layerBytes(text)),
          size: layerBytes(text).length,
          source: { path: drop.blobOf(text) },
        });
      }
      const [manifest] = read.manifests;
      expect(sha256(Buffer.from(manifest?.bytes ?? []))).to.equal(image.digest);
    });

    it('lists the images of an index before the index', () => {
      const children = [AMD64, ARM64].map((platform) =>
        drop.content.image({ layers: [platform.architecture], platform }),
      );
      const index = drop.content.index(children);
      drop.write(index);
      const { manifests } = readDrop(drop.path, '1.0').content;
      const order = [...children, index].map(({ digest }) => digest);
      expect(manifests.map(({ digest }) => digest)).to.deep.equal(order);
    });

    it('lists a layer shared by two images once', () => {
      const children = [AMD64, ARM64].map((platform) =>
        drop.content.image({ layers: ['shared', platform.architecture], platform }),
      );
      drop.write(drop.content.index(children));
      const { blobs } = readDrop(drop.path, '1.0').content;
      const shared = sha256(layerBytes('shared'));
      expect(blobs.filter(({ digest }) => digest === shared)).to.have.length(1);
      expect(blobs).to.have.length(5);
    });

    it('reads Docker schema 2 images and lists unchanged', () => {
      const child = drop.content.image({ docker: true, platform: AMD64 });
      drop.write(drop.content.index([child], true));
      const kinds = readDrop(drop.path, '1.0').content.manifests.map(
        ({ manifest }) => manifest.kind,
      );
      expect(kinds).to.deep.equal(['2', 'list']);
    });

    it('reads blobs named by sha512', () => {
      const bytes = Buffer.from('long');
      const digest = `sha512:${createHash('sha512').update(bytes).digest('hex')}`;
      drop.content.blobs.set(digest, bytes);
      drop.writeDocument({
        config: drop.config(),
        layers: [{ mediaType: LAYER, digest, size: bytes.length }],
      });
      const { content: read, missing } = readDrop(drop.path, '1.0');
      expect(missing).to.deep.equal([]);
      expect(read.blobs.map((blob) => blob.digest)).to.include(digest);
    });

    it('does not require the subject of a signature', () => {
      const subject = new TestContent().image({ layers: ['elsewhere'] });
      const signature = drop.content.image({ layers: ['sig'], subject });
      drop.write(signature);
      const { content: read, missing } = readDrop(drop.path);
      expect(missing).to.deep.equal([]);
      expect(read.manifests[0]?.manifest.subject?.digest).to.equal(subject.digest);
    });

    it('treats index entries that are not manifests as blobs', () => {
      const image = drop.content.image({ platform: AMD64 });
      const note = drop.content.add('some text', 'text/plain');
      drop.write(drop.content.index([image, note]));
      expect(readDrop(drop.path, '1.0').content.blobs.map(({ digest }) => digest)).to.include(
        note.digest,
      );
    });

    it('reads a blob from the data of its descriptor', () => {
      const bytes = Buffer.from('{}');
      const inline = { mediaType: LAYER, digest: sha256(bytes), size: 2, data: 'e30=' };
      drop.writeDocument({ config: inline, layers: [] });
      const [blob] = readDrop(drop.path, '1.0').content.blobs;
      const data = blob && typeof blob.source === 'object' && 'data' in blob.source;
      expect(data).to.equal(true);
    });

    it('omits a layer that clients fetch elsewhere, and reports it', () => {
      const layerType = 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip';
      drop.write(drop.content.image({ layers: ['foreign'], layerType }));
      rmSync(drop.at(drop.blobOf('foreign')));
      const { content: read, missing } = readDrop(drop.path, '1.0');
      expect(missing).to.deep.equal([]);
      expect(read.leftOut.map(({ what }) => what)).to.deep.equal([sha256(layerBytes('foreign'))]);
    });
  });

  describe('waits for', () => {
    it('a missing layer, and names it and what references it', () => {
      const image = drop.content.image({ layers: ['one', 'two'] });
      drop.write(image);
      rmSync(drop.at(drop.blobOf('two')));
      expect(readDrop(drop.path, '1.0').missing).to.deep.equal([
        {
          digest: sha256(layerBytes('two')),
          path: drop.blobOf('two'),
          by: image.digest,
          tolerable: false,
          platform: undefined,
        },
      ]);
    });

    it('a layer shorter than its declared size', () => {
      drop.write(drop.content.image({ layers: ['growing'] }));
      truncateSync(drop.at(drop.blobOf('growing')), 3);
      const [entry] = readDrop(drop.path, '1.0').missing;
      expect(entry).to.include({ path: drop.blobOf('growing'), tolerable: false });
    });

    it('a child manifest shorter than its declared size, even in an index', () => {
      const child = drop.content.image({ platform: AMD64 });
      drop.write(
        drop.content.index([child, drop.content.image({ layers: ['other'], platform: ARM64 })]),
      );
      truncateSync(drop.at(format.manifest(child.digest)), 10);
      const [entry] = readDrop(drop.path, '1.0').missing;
      expect(entry).to.include({ digest: child.digest, tolerable: false });
    });

    for (const [what, text] of [
      ['empty', ''],
      ['torn', '{"schemaVersion":2,"man'],
    ] as const) {
      it(`its ${format.entry} when that is ${what}`, () => {
        drop.write(drop.content.image());
        writeFileSync(drop.at(format.entry), text);
        const { content: read, missing } = readDrop(drop.path, '1.0');
        expect(missing.map((entry) => entry.path)).to.deep.equal([format.entry]);
        expect(read.roots).to.deep.equal([]);
      });
    }
  });

  describe('absent platforms', () => {
    it('are tolerated when at least one platform is present', () => {
      const here = drop.content.image({ layers: ['here'], platform: AMD64 });
      const absent = new TestContent().image({ layers: ['absent'], platform: ARM64 });
      drop.write(drop.content.index([here, absent]));
      expect(readDrop(drop.path, '1.0').missing).to.deep.equal([
        {
          digest: absent.digest,
          path: format.manifest(absent.digest),
          by: drop.content.index([here, absent]).digest,
          tolerable: true,
          platform: 'linux/arm64/v8',
        },
      ]);
    });

    it('are an error when all platforms are absent', () => {
      const elsewhere = new TestContent();
      const absent = [AMD64, ARM64].map((platform) => elsewhere.image({ platform }));
      drop.write(drop.content.index(absent));
      const { missing } = readDrop(drop.path, '1.0');
      expect(missing.map(({ tolerable }) => tolerable)).to.deep.equal([false, false]);
    });

    it('do not excuse a missing layer of a present platform', () => {
      const here = drop.content.image({ layers: ['here'], platform: AMD64 });
      drop.write(drop.content.index([here, new TestContent().image({ platform: ARM64 })]));
      rmSync(drop.at(drop.blobOf('here')));
      const { missing } = readDrop(drop.path, '1.0');
      const layer = missing.find(({ digest }) => digest === sha256(layerBytes('here')));
      expect(layer?.tolerable).to.equal(false);
    });
  });

  describe('a thin drop', () => {
    it('may leave out a blob that its repository serves', () => {
      const digest = sha256(layerBytes('base'));
      drop.write(drop.content.image({ layers: ['base', 'new'] }));
      rmSync(drop.at(drop.blobOf('base')));
      const { content: read, missing } = readDrop(drop.path, '1.0', {
        ...NOTHING,
        sizeOf: (asked) => (asked === digest ? layerBytes('base').length : undefined),
      });
      expect(missing).to.deep.equal([]);
      expect(read.blobs.find((blob) => blob.digest === digest)?.source).to.equal('published');
    });

    it('may leave out a manifest that its repository serves', () => {
      const child = drop.content.image({ platform: AMD64 });
      drop.write(drop.content.index([child]));
      rmSync(drop.at(format.manifest(child.digest)));
      const { content: read, missing } = readDrop(drop.path, '1.0', {
        ...NOTHING,
        readManifest: (asked) => drop.content.blobs.get(asked === child.digest ? asked : ''),
      });
      expect(missing).to.deep.equal([]);
      expect(read.manifests[0]).to.include({ digest: child.digest, bytes: undefined });
    });
  });
}
