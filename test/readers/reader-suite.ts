/** What every reader of a directory drop promises, whatever its format. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { expect } from 'chai';
import { nodeDisk } from '#src/disk/disk.js';
import type { Tag } from '#src/image/names.js';
import type { Reading } from '#src/image/staged-content.js';
import type { PublishedContent } from '#src/readers/bundle.js';
import { readDirectoryDrop } from '#src/readers/recognise.js';
import { layerBytes, sha256, TestContent, type TestDescriptor } from '../support/make-image.js';
import { refusal } from '../support/refusal.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';

/** How one format lays out a drop of one image. */
export interface ReaderFormat {
  readonly name: string;
  /** The small document that names the image. */
  readonly entry: string;
  write(path: string, content: TestContent, image: TestDescriptor): void;
  /** Where a blob lies, and a manifest that is not the image itself. */
  blob(digest: string): string;
  manifest(digest: string): string;
}

export const NOTHING: PublishedContent = { has: () => false, readManifest: () => undefined };
export const TAG = '1.0' as Tag;

export function readDrop(path: string, tag?: string, published = NOTHING): Reading {
  return readDirectoryDrop(nodeDisk, path, { tag: tag as Tag | undefined }, published);
}

const LAYER = 'application/vnd.oci.image.layer.v1.tar+gzip';
const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const INDEX = 'application/vnd.oci.image.index.v1+json';
const AMD64 = { os: 'linux', architecture: 'amd64' };
const ARM64 = { os: 'linux', architecture: 'arm64', variant: 'v8' };

export function describeReader(format: ReaderFormat): void {
  let path: string;
  let content: TestContent;

  beforeEach(() => {
    path = join(tempDir(), 'drop');
    content = new TestContent();
  });
  afterEach(removeTempDirs);

  const write = (image: TestDescriptor) => format.write(path, content, image);
  const at = (name: string) => join(path, name);
  const blobOf = (text: string) => format.blob(sha256(layerBytes(text)));
  /** A manifest of any shape as the drop's image. */
  const writeDocument = (document: object, mediaType = MANIFEST) => {
    const image = content.add(JSON.stringify({ schemaVersion: 2, ...document }), mediaType);
    write(image);
    return image;
  };
  const config = () => content.add('{"os":"linux"}', MANIFEST);

  describe('reads', () => {
    it('names the image, its blobs with their sizes, and where each lies', () => {
      const image = content.image({ layers: ['one', 'two'] });
      write(image);
      const { content: read, missing } = readDrop(path, '1.0');
      expect(missing).to.deep.equal([]);
      expect(read.roots).to.deep.equal([{ digest: image.digest, tags: ['1.0'] }]);
      expect(read.blobs).to.have.length(3);
      for (const text of ['one', 'two']) {
        expect(read.blobs).to.deep.include({
          digest: sha256(layerBytes(text)),
          size: layerBytes(text).length,
          source: { path: blobOf(text) },
        });
      }
      const [manifest] = read.manifests;
      expect(sha256(Buffer.from(manifest?.bytes ?? []))).to.equal(image.digest);
    });

    it('lists the images of an index before the index', () => {
      const children = [AMD64, ARM64].map((platform) =>
        content.image({ layers: [platform.architecture], platform }),
      );
      const index = content.index(children);
      write(index);
      const { manifests } = readDrop(path, '1.0').content;
      const order = [...children, index].map(({ digest }) => digest);
      expect(manifests.map(({ digest }) => digest)).to.deep.equal(order);
    });

    it('lists a layer that two images share once', () => {
      const children = [AMD64, ARM64].map((platform) =>
        content.image({ layers: ['shared', platform.architecture], platform }),
      );
      write(content.index(children));
      const { blobs } = readDrop(path, '1.0').content;
      const shared = sha256(layerBytes('shared'));
      expect(blobs.filter(({ digest }) => digest === shared)).to.have.length(1);
      expect(blobs).to.have.length(5);
    });

    it('takes Docker schema 2 images and lists as they are', () => {
      const child = content.image({ docker: true, platform: AMD64 });
      write(content.index([child], true));
      const kinds = readDrop(path, '1.0').content.manifests.map(({ manifest }) => manifest.kind);
      expect(kinds).to.deep.equal(['2', 'list']);
    });

    it('takes blobs named by sha512', () => {
      const bytes = Buffer.from('long');
      const digest = `sha512:${createHash('sha512').update(bytes).digest('hex')}`;
      content.blobs.set(digest, bytes);
      writeDocument({
        config: config(),
        layers: [{ mediaType: LAYER, digest, size: bytes.length }],
      });
      const { content: read, missing } = readDrop(path, '1.0');
      expect(missing).to.deep.equal([]);
      expect(read.blobs.map((blob) => blob.digest)).to.include(digest);
    });

    it('does not ask for the subject of a signature', () => {
      const subject = new TestContent().image({ layers: ['elsewhere'] });
      const signature = content.image({ layers: ['sig'], subject });
      write(signature);
      const { content: read, missing } = readDrop(path);
      expect(missing).to.deep.equal([]);
      expect(read.manifests[0]?.manifest.subject?.digest).to.equal(subject.digest);
    });

    it('takes what an index lists and is no manifest as a blob', () => {
      const image = content.image({ platform: AMD64 });
      const note = content.add('some text', 'text/plain');
      write(content.index([image, note]));
      expect(readDrop(path, '1.0').content.blobs.map(({ digest }) => digest)).to.include(
        note.digest,
      );
    });

    it('takes a blob from the data of its descriptor', () => {
      const bytes = Buffer.from('{}');
      const inline = { mediaType: LAYER, digest: sha256(bytes), size: 2, data: 'e30=' };
      writeDocument({ config: inline, layers: [] });
      const [blob] = readDrop(path, '1.0').content.blobs;
      const data = blob && typeof blob.source === 'object' && 'data' in blob.source;
      expect(data).to.equal(true);
    });

    it('leaves out a layer that clients fetch elsewhere, and says so', () => {
      const layerType = 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip';
      write(content.image({ layers: ['foreign'], layerType }));
      rmSync(at(blobOf('foreign')));
      const { content: read, missing } = readDrop(path, '1.0');
      expect(missing).to.deep.equal([]);
      expect(read.leftOut.map(({ what }) => what)).to.deep.equal([sha256(layerBytes('foreign'))]);
    });
  });

  describe('waits for', () => {
    it('a layer that is not there, naming it and who refers to it', () => {
      const image = content.image({ layers: ['one', 'two'] });
      write(image);
      rmSync(at(blobOf('two')));
      expect(readDrop(path, '1.0').missing).to.deep.equal([
        {
          digest: sha256(layerBytes('two')),
          path: blobOf('two'),
          by: image.digest,
          tolerable: false,
          platform: undefined,
        },
      ]);
    });

    it('a layer that is shorter than it will be', () => {
      write(content.image({ layers: ['growing'] }));
      truncateSync(at(blobOf('growing')), 3);
      const [entry] = readDrop(path, '1.0').missing;
      expect(entry).to.include({ path: blobOf('growing'), tolerable: false });
    });

    it('a child manifest that is shorter than it will be, even in an index', () => {
      const child = content.image({ platform: AMD64 });
      write(content.index([child, content.image({ layers: ['other'], platform: ARM64 })]));
      truncateSync(at(format.manifest(child.digest)), 10);
      const [entry] = readDrop(path, '1.0').missing;
      expect(entry).to.include({ digest: child.digest, tolerable: false });
    });

    for (const [what, text] of [
      ['empty', ''],
      ['torn', '{"schemaVersion":2,"man'],
    ] as const) {
      it(`its ${format.entry} when that is ${what}`, () => {
        write(content.image());
        writeFileSync(at(format.entry), text);
        const { content: read, missing } = readDrop(path, '1.0');
        expect(missing.map((entry) => entry.path)).to.deep.equal([format.entry]);
        expect(read.roots).to.deep.equal([]);
      });
    }
  });

  describe('platforms that are absent', () => {
    it('can be done without, as long as one is there', () => {
      const here = content.image({ layers: ['here'], platform: AMD64 });
      const absent = new TestContent().image({ layers: ['absent'], platform: ARM64 });
      write(content.index([here, absent]));
      expect(readDrop(path, '1.0').missing).to.deep.equal([
        {
          digest: absent.digest,
          path: format.manifest(absent.digest),
          by: content.index([here, absent]).digest,
          tolerable: true,
          platform: 'linux/arm64/v8',
        },
      ]);
    });

    it('cannot all be done without', () => {
      const elsewhere = new TestContent();
      const absent = [AMD64, ARM64].map((platform) => elsewhere.image({ platform }));
      write(content.index(absent));
      const { missing } = readDrop(path, '1.0');
      expect(missing.map(({ tolerable }) => tolerable)).to.deep.equal([false, false]);
    });

    it('do not excuse a layer missing from a platform that is there', () => {
      const here = content.image({ layers: ['here'], platform: AMD64 });
      write(content.index([here, new TestContent().image({ platform: ARM64 })]));
      rmSync(at(blobOf('here')));
      const { missing } = readDrop(path, '1.0');
      const layer = missing.find(({ digest }) => digest === sha256(layerBytes('here')));
      expect(layer?.tolerable).to.equal(false);
    });
  });

  describe('a thin drop', () => {
    it('may leave out a blob that its repository serves', () => {
      const digest = sha256(layerBytes('base'));
      write(content.image({ layers: ['base', 'new'] }));
      rmSync(at(blobOf('base')));
      const { content: read, missing } = readDrop(path, '1.0', {
        ...NOTHING,
        has: (asked) => asked === digest,
      });
      expect(missing).to.deep.equal([]);
      expect(read.blobs.find((blob) => blob.digest === digest)?.source).to.equal('published');
    });

    it('may leave out a manifest that its repository serves', () => {
      const child = content.image({ platform: AMD64 });
      write(content.index([child]));
      rmSync(at(format.manifest(child.digest)));
      const { content: read, missing } = readDrop(path, '1.0', {
        ...NOTHING,
        readManifest: (asked) => content.blobs.get(asked === child.digest ? asked : ''),
      });
      expect(missing).to.deep.equal([]);
      expect(read.manifests[0]).to.include({ digest: child.digest, bytes: undefined });
    });
  });
}
