/** Shared by the reader tests: a format, a drop in it, and a function that reads it. */
import { join } from 'node:path';
import { directoryBundle } from '#src/formats/directory-bundle.js';
import type { PublishedContent } from '#src/formats/file-source.js';
import type { WantedName } from '#src/formats/name-roots.js';
import type { BundleReading } from '#src/formats/reading.js';
import { readBundle } from '#src/formats/recognise.js';
import type { Tag } from '#src/image/names.js';
import type { Reading } from '#src/image/staged-content.js';
import { nodeDisk } from '#src/storage/disk.js';
import { InsideDirectory } from '#src/storage/inside-directory.js';
import { layerBytes, sha256, TestContent, type TestDescriptor } from '../support/make-image.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';

/** How one format lays out a drop of one image. */
export interface ReaderFormat {
  /** The small document that names the image. */
  readonly entry: string;
  write(path: string, content: TestContent, image: TestDescriptor): void;
  /** Where a blob lies, and a manifest that is not the image itself. */
  blob(digest: string): string;
  manifest(digest: string): string;
}

export const LAYER = 'application/vnd.oci.image.layer.v1.tar+gzip';
export const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
export const AMD64 = { os: 'linux', architecture: 'amd64' };
export const ARM64 = { os: 'linux', architecture: 'arm64', variant: 'v8' };

export const NOTHING: PublishedContent = { sizeOf: () => undefined, readManifest: () => undefined };

export function readDirectoryDrop(
  path: string,
  wanted: WantedName,
  published = NOTHING,
  isEndKnown = false,
): BundleReading {
  return InsideDirectory.use(nodeDisk, path, (inside) =>
    readBundle(directoryBundle(inside), wanted, { published, isEndKnown }),
  );
}

export function readDrop(path: string, tag?: string, published = NOTHING): BundleReading {
  return readDirectoryDrop(path, { tag: tag as Tag | undefined }, published);
}

/** The images a drop names, and the tags they get. */
export function rootsOf({ content }: Reading): { digest: string; tags: readonly string[] }[] {
  return content.roots.map(({ digest, tags }) => ({ digest, tags }));
}

/** A drop that is made anew for each test. */
export class DropFixture {
  path = '';
  content = new TestContent();

  constructor(readonly format: ReaderFormat) {
    beforeEach(() => {
      this.path = join(tempDir(), 'drop');
      this.content = new TestContent();
    });
    afterEach(removeTempDirs);
  }

  write(image: TestDescriptor): void {
    this.format.write(this.path, this.content, image);
  }

  /** A manifest of any shape as the drop's image. */
  writeDocument(document: object, mediaType = MANIFEST): void {
    const text = JSON.stringify({ schemaVersion: 2, ...document });
    this.write(this.content.add(text, mediaType));
  }

  config(): TestDescriptor {
    return this.content.add('{"os":"linux"}', 'application/vnd.oci.image.config.v1+json');
  }

  at(name: string): string {
    return join(this.path, name);
  }

  /** The path below the drop of the layer made from this text. */
  blobOf(text: string): string {
    return this.format.blob(sha256(layerBytes(text)));
  }
}
