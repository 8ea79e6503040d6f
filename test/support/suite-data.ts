/**
 * The data that the OCI conformance suite pushes before it pulls (distribution-spec, conformance/run.go,
 * GenerateData), built here and dropped instead. The names are those of the suite.
 */
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { blobPath } from './make-image.js';

export const INDEX = 'application/vnd.oci.image.index.v1+json';
export const IMAGE = 'application/vnd.oci.image.manifest.v1+json';
const CONFIG = 'application/vnd.oci.image.config.v1+json';
const EMPTY = 'application/vnd.oci.empty.v1+json';
const EXAMPLES = [
  'application/vnd.example.oci.conformance.1',
  'application/vnd.example.oci.conformance.2',
] as const;
const LAYER = 'application/vnd.oci.image.layer';

export type Algorithm = 'sha256' | 'sha512';

export interface SuiteDescriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly artifactType?: string;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly platform?: object;
}

interface ManifestOptions {
  readonly tag?: string;
  readonly subject?: SuiteDescriptor;
  readonly artifactType?: string;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly platform?: object;
  /** Of the config and of each layer; a config of the empty type is `{}`. */
  readonly configType?: string;
  readonly layerType?: string;
  readonly layers?: readonly SuiteDescriptor[];
  readonly layerCount?: number;
  readonly isCompressed?: boolean;
  /** Descriptors hold the content, too. */
  readonly data?: boolean;
  /** Fields that no version of the spec has. */
  readonly extra?: object;
}

/** One set of data: what is dropped into one repository. */
export class SuiteData {
  readonly tags = new Map<string, string>();
  readonly manifests = new Map<string, Buffer>();
  readonly blobs = new Map<string, Buffer>();
  /** By subject. */
  readonly referrers = new Map<string, SuiteDescriptor[]>();

  constructor(readonly algorithm: Algorithm = 'sha256') {}

  blob(bytes: Buffer | string, mediaType = 'application/octet-stream'): SuiteDescriptor {
    const content = Buffer.from(bytes);
    const digest = this.#digest(content);
    this.blobs.set(digest, content);
    return { mediaType, digest, size: content.length };
  }

  image(options: ManifestOptions = {}): SuiteDescriptor {
    const { layerCount = 2, isCompressed = true, configType = CONFIG, data, extra } = options;
    const layerType = options.layerType ?? `${LAYER}.v1.tar${isCompressed ? '+gzip' : ''}`;
    const plain = Array.from({ length: layerCount }, () => randomBytes(2048));
    const diffIds = plain.map((bytes) => this.#digest(bytes));
    const config =
      configType === EMPTY
        ? '{}'
        : JSON.stringify({
            architecture: 'amd64',
            os: 'linux',
            ...options.platform,
            rootfs: { type: 'layers', diff_ids: diffIds },
            ...extra,
          });
    const withData = (descriptor: SuiteDescriptor) =>
      data
        ? { ...descriptor, data: this.blobs.get(descriptor.digest)?.toString('base64') }
        : descriptor;
    const layers =
      options.layers ??
      plain.map((bytes) => this.blob(isCompressed ? gzipSync(bytes) : bytes, layerType));
    return this.#manifest(options, IMAGE, {
      config: withData(this.blob(config, configType)),
      layers: layers.map(withData),
    });
  }

  index(members: readonly SuiteDescriptor[], options: ManifestOptions = {}): SuiteDescriptor {
    return this.#manifest(options, INDEX, { manifests: members });
  }

  #manifest(options: ManifestOptions, mediaType: string, content: object): SuiteDescriptor {
    const { subject, artifactType, annotations, platform, tag, extra } = options;
    const plain = subject && { mediaType: subject.mediaType, digest: subject.digest };
    const bytes = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType,
        ...(artifactType && { artifactType }),
        ...content,
        ...(subject && { subject: { ...plain, size: subject.size } }),
        ...(annotations && { annotations }),
        ...extra,
      }),
    );
    const digest = this.#digest(bytes);
    this.manifests.set(digest, bytes);
    if (tag) this.tags.set(tag, digest);
    const descriptor = { mediaType, digest, size: bytes.length };
    if (subject) {
      const { config } = content as { config?: SuiteDescriptor };
      const type = artifactType ?? config?.mediaType;
      const referrer = { ...descriptor, ...(type && { artifactType: type }) };
      const all = this.referrers.get(subject.digest) ?? [];
      const said = annotations && { annotations };
      this.referrers.set(subject.digest, [...all, { ...referrer, ...said }]);
    }
    return { ...descriptor, ...(platform && { platform }) };
  }

  #digest(bytes: Buffer): string {
    const { algorithm } = this;
    return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`;
  }

  /** An OCI image layout of all of it. */
  writeLayout(path: string): void {
    for (const [digest, bytes] of [...this.blobs, ...this.manifests]) {
      const file = blobPath(path, digest);
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, bytes);
    }
    writeFileSync(join(path, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
    const entry = (digest: string, tag?: string) => {
      const bytes = this.manifests.get(digest) ?? Buffer.alloc(0);
      const { mediaType } = JSON.parse(bytes.toString()) as { mediaType: string };
      const annotations = tag && { 'org.opencontainers.image.ref.name': tag };
      return { mediaType, digest, size: bytes.length, ...(annotations && { annotations }) };
    };
    const manifests = [
      ...[...this.manifests.keys()].map((digest) => entry(digest)),
      ...[...this.tags].map(([tag, digest]) => entry(digest, tag)),
    ];
    writeFileSync(join(path, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests }));
  }
}

const AMD64 = { os: 'linux', architecture: 'amd64' };
const ARM64 = { os: 'linux', architecture: 'arm64' };
const both = (data: SuiteData, options: ManifestOptions = {}) =>
  [AMD64, ARM64].map((platform) => data.image({ ...options, platform }));

const ARTIFACT = {
  artifactType: EXAMPLES[0],
  configType: EMPTY,
  layerCount: 1,
  layerType: EXAMPLES[0],
};
const HELLO = { annotations: { 'org.opencontainers.conformance': 'hello conformance test' } };

/**
 * The suite's `tag-param` and `bad-digest-image` are about pushes. Of `sparse` the index is here; its
 * image lacks a layer, and dropdock publishes no image that cannot be pulled.
 */
export const SUITE_DATA: Readonly<Record<string, (data: SuiteData) => void>> = {
  image: (data) => data.image({ tag: 'image' }),
  'image-uncompressed': (data) => data.image({ tag: 'image-uncompressed', isCompressed: false }),
  'large-manifest': (data) => {
    const large = Array.from({ length: 390 }, (_none, n) => [`large-annotation-${n}`, 'A']);
    const annotations = Object.fromEntries(large.map(([key, a]) => [key, a?.repeat(10_000) ?? '']));
    data.image({ tag: 'large-manifest', annotations });
  },
  index: (data) => data.index(both(data), { tag: 'index' }),
  'nested-index': (data) =>
    data.index([data.index(both(data)), data.index(both(data))], { tag: 'index-of-index' }),
  'empty-index': (data) => data.index([], { tag: 'index' }),
  artifact: (data) => data.image({ ...ARTIFACT, tag: 'artifact' }),
  'artifact-index': (data) =>
    data.index(both(data, ARTIFACT), { tag: 'artifact-index', artifactType: EXAMPLES[0] }),
  'artifact-without-layers': (data) =>
    data.image({ ...ARTIFACT, tag: 'artifact-without-layers', layers: [data.blob('{}', EMPTY)] }),
  'artifacts-with-subject': (data) => {
    const subject = data.image({ tag: 'image' });
    data.image({ subject });
    data.image({ ...ARTIFACT, ...HELLO, subject, tag: 'tagged-artifact1' });
    const other = { ...ARTIFACT, artifactType: EXAMPLES[1], layerType: 'application/octet-stream' };
    data.image({ ...other, ...HELLO, subject, tag: 'tagged-artifact2' });
  },
  'index-with-subject': (data) => {
    const subject = data.index(both(data), { tag: 'index' });
    const options = { ...HELLO, subject, artifactType: EXAMPLES[0], tag: 'tagged-artifact' };
    data.index(both(data, ARTIFACT), options);
  },
  'missing-subject': (data) => {
    const digest = `sha256:${createHash('sha256').update('missing content').digest('hex')}`;
    const subject = { mediaType: IMAGE, digest, size: 123 };
    data.image({ ...ARTIFACT, ...HELLO, subject, tag: 'tagged-artifact' });
  },
  'data-field': (data) => data.image({ tag: 'data-field', data: true }),
  'non-distributable-layers': (data) => {
    const foreign = ['.nondistributable.v1.tar+gzip', '.nondistributable.v1.tar'].map((type) => {
      const hex = randomBytes(32).toString('hex');
      const urls = [`https://store.example.com/blobs/sha256/${hex}`];
      return { mediaType: LAYER + type, digest: `sha256:${hex}`, size: 12_345, urls };
    });
    const own = data.blob(gzipSync(randomBytes(2048)), `${LAYER}.v1.tar+gzip`);
    data.image({ tag: 'non-distributable-image', layers: [...foreign, own] });
  },
  'custom-fields': (data) => {
    const extra = { 'org.example.extra': { hello: [1, 'x', null] } };
    data.index(both(data, { extra }), { tag: 'custom-fields', extra });
  },
  'no-layers': (data) => data.image({ tag: 'no-layers', layerCount: 0 }),
  sparse: (data) => {
    const image = data.image({ platform: AMD64 });
    const digest = `sha256:${randomBytes(32).toString('hex')}`;
    const absent = { mediaType: IMAGE, digest, size: 1024, platform: ARM64 };
    data.index([image, absent], { tag: 'sparse-index' });
  },
  sha512: (data) => data.index(both(data)),
};
