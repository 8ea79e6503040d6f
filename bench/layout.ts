/** Writes OCI image layouts from existing layers, like skopeo and other tools. */
import { createHash } from 'node:crypto';
import { linkSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Layer } from './layers.js';

const OCI = 'application/vnd.oci.image';

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

export interface Blob {
  readonly digest: string;
  readonly bytes: Buffer;
}

export interface Image {
  readonly manifest: Blob;
  readonly config: Blob;
  readonly layers: readonly Layer[];
}

export const sha256 = (bytes: Buffer | string) =>
  `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

const blob = (value: unknown): Blob => {
  const bytes = Buffer.from(JSON.stringify(value));
  return { bytes, digest: sha256(bytes) };
};

/** @param mark makes this image differ from others with the same layers */
export function image(layers: readonly Layer[], mark: string, layerType = 'tar+gzip'): Image {
  const diffs = layers.map(({ diffId }) => diffId);
  const config = blob({
    architecture: 'amd64',
    os: 'linux',
    config: { Labels: { mark } },
    rootfs: { type: 'layers', diff_ids: diffs },
  });
  const manifest = blob({
    schemaVersion: 2,
    mediaType: `${OCI}.manifest.v1+json`,
    config: descriptor(`${OCI}.config.v1+json`, config),
    layers: layers.map(({ digest, size }) => ({
      mediaType: `${OCI}.layer.v1.${layerType}`,
      digest,
      size,
    })),
  });
  return { manifest, config, layers };
}

const descriptor = (mediaType: string, { digest, bytes }: Blob): Descriptor => ({
  mediaType,
  digest,
  size: bytes.length,
});

/** What becomes of the layer files: moved into the layout, hard-linked, or left out. */
export type Layers = 'moved' | 'linked' | 'absent';

/** @param leave layers that are left out (thin drops) */
export function writeLayout(
  directory: string,
  images: readonly { image: Image; tag: string }[],
  { layers, leave = () => false }: { layers: Layers; leave?: (layer: Layer) => boolean },
): void {
  const blobs = join(directory, 'blobs', 'sha256');
  mkdirSync(blobs, { recursive: true });
  const path = (digest: string) => join(blobs, digest.slice(7));
  for (const { image } of images) {
    for (const { digest, bytes } of [image.config, image.manifest]) {
      writeFileSync(path(digest), bytes);
    }
    for (const layer of image.layers) {
      if (layers === 'absent' || leave(layer)) continue;
      (layers === 'moved' ? renameSync : linkSync)(layer.path, path(layer.digest));
    }
  }
  writeFileSync(join(directory, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  writeFileSync(join(directory, 'index.json'), indexOf(images));
}

export function indexOf(images: readonly { image: Image; tag: string }[]): string {
  const manifests = images.map(({ image, tag }) => ({
    ...descriptor(`${OCI}.manifest.v1+json`, image.manifest),
    annotations: { 'org.opencontainers.image.ref.name': tag },
  }));
  return JSON.stringify({ schemaVersion: 2, mediaType: `${OCI}.index.v1+json`, manifests });
}
