/** Images built in code: every test defines its content in a few lines. */
import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

export interface TestDescriptor {
  mediaType: string;
  digest: string;
  size: number;
  annotations?: Record<string, string>;
  platform?: { os: string; architecture: string; variant?: string };
  artifactType?: string;
  data?: string;
  urls?: string[];
}

export interface ImageOptions {
  /** One layer for each; its text makes it different from others. */
  layers?: readonly string[];
  docker?: boolean;
  platform?: { os: string; architecture: string; variant?: string };
  subject?: TestDescriptor;
  artifactType?: string;
  annotations?: Record<string, string>;
  layerType?: string;
  configType?: string;
}

const OCI = 'application/vnd.oci.image';
const DOCKER = 'application/vnd.docker';

export function sha256(bytes: Buffer | string): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/** Blobs and manifests by digest, and the builders that add to them. */
export class TestContent {
  readonly blobs = new Map<string, Buffer>();

  add(bytes: Buffer | string, mediaType: string): TestDescriptor {
    const buffer = Buffer.from(bytes);
    const digest = sha256(buffer);
    this.blobs.set(digest, buffer);
    return { mediaType, digest, size: buffer.length };
  }

  image(options: ImageOptions = {}): TestDescriptor {
    const { layers = ['layer'], docker = false, platform, subject } = options;
    const { os = 'linux', architecture = 'amd64' } = platform ?? {};
    const config = this.add(
      JSON.stringify({ os, architecture, rootfs: { type: 'layers', diff_ids: [] }, layers }),
      options.configType ??
        (docker ? `${DOCKER}.container.image.v1+json` : `${OCI}.config.v1+json`),
    );
    const layerType =
      options.layerType ??
      (docker ? `${DOCKER}.image.rootfs.diff.tar.gzip` : `${OCI}.layer.v1.tar+gzip`);
    const mediaType = docker
      ? `${DOCKER}.distribution.manifest.v2+json`
      : `${OCI}.manifest.v1+json`;
    const manifest = {
      schemaVersion: 2,
      mediaType,
      ...(options.artifactType && { artifactType: options.artifactType }),
      config,
      layers: layers.map((text) => this.add(layerBytes(text), layerType)),
      ...(subject && { subject }),
      ...(options.annotations && { annotations: options.annotations }),
    };
    return { ...this.add(JSON.stringify(manifest), mediaType), ...(platform && { platform }) };
  }

  index(manifests: readonly TestDescriptor[], docker = false): TestDescriptor {
    const mediaType = docker
      ? `${DOCKER}.distribution.manifest.list.v2+json`
      : `${OCI}.index.v1+json`;
    return this.add(JSON.stringify({ schemaVersion: 2, mediaType, manifests }), mediaType);
  }

  /** Writes an OCI image layout; several tags of one image give several entries. */
  writeLayout(
    path: string,
    roots: readonly { image: TestDescriptor; tag?: string }[],
    { omit = [] }: { omit?: readonly string[] } = {},
  ): void {
    mkdirSync(join(path, 'blobs', 'sha256'), { recursive: true });
    for (const [digest, bytes] of this.blobs) {
      if (!omit.includes(digest)) writeFileSync(blobPath(path, digest), bytes);
    }
    writeFileSync(join(path, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
    const manifests = roots.map(({ image, tag }) => ({
      ...image,
      ...(tag && { annotations: { 'org.opencontainers.image.ref.name': tag } }),
    }));
    writeFileSync(join(path, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests }));
  }

  /** Writes what skopeo's dir: transport writes. */
  writeSkopeoDir(path: string, image: TestDescriptor): void {
    mkdirSync(path, { recursive: true });
    writeFileSync(join(path, 'version'), 'Directory Transport Version: 1.1\n');
    for (const [digest, bytes] of this.blobs) {
      const hex = digest.slice('sha256:'.length);
      if (digest === image.digest) writeFileSync(join(path, 'manifest.json'), bytes);
      else if (isManifest(bytes)) writeFileSync(join(path, `${hex}.manifest.json`), bytes);
      else writeFileSync(join(path, hex), bytes);
    }
  }
}

/** Opaque to dropdock; made without a compressor, whose output differs between versions of Node. */
export function layerBytes(text: string): Buffer {
  return Buffer.concat([Buffer.from([0x1f, 0x8b]), Buffer.from(text)]);
}

export function blobPath(layout: string, digest: string): string {
  return join(layout, 'blobs', digest.replace(':', '/'));
}

function isManifest(bytes: Buffer): boolean {
  return bytes[0] === 0x7b && bytes.includes('"schemaVersion"');
}

/** One image with one tag, as a layout at `path`. @returns the manifest's descriptor */
export function makeLayout(
  path: string,
  { tag = '1.0', ...options }: ImageOptions & { tag?: string } = {},
): TestDescriptor {
  mkdirSync(dirname(path), { recursive: true });
  const content = new TestContent();
  const image = content.image(options);
  content.writeLayout(path, [{ image, tag }]);
  return image;
}
