/**
 * The docker-archive format of `docker save` before version 25, skopeo and podman: a manifest.json that lists
 * configs and layer tars (moby, image/tarexport). It contains no manifest, so one is built: the same tar
 * gives the same digest on every host, but it differs from the upstream digest.
 */
import { createHash } from 'node:crypto';
import * as v from 'valibot';
import { DropdockError } from '../errors.js';
import { type Digest, digestFrom, digestHex, parseDigest } from '../image/digest.js';
import { isWholeJson, parseJson } from '../image/json.js';
import {
  DOCKER_SAVE_MANIFEST_BYTES_MAX,
  LAYERS_MAX,
  MANIFEST_BYTES_MAX,
  SAVED_CONFIGS_BYTES_MAX,
  SAVED_IMAGES_MAX,
} from '../image/limits.js';
import { MEDIA_TYPES } from '../image/media-types.js';
import type { Missing } from '../image/staged-content.js';
import type { Bundle } from './file-source.js';
import { SAVE_MANIFEST } from './format.js';
import { memberPath } from './member-path.js';
import { missingFile, type SavedImage } from './reading.js';

const saveManifest = v.pipe(
  v.array(
    v.object({
      Config: v.string(),
      RepoTags: v.nullish(v.array(v.string())),
      Layers: v.nullish(v.pipe(v.array(v.string()), v.maxLength(LAYERS_MAX))),
    }),
  ),
  v.minLength(1),
);

const imageConfig = v.object({
  rootfs: v.nullish(v.object({ diff_ids: v.nullish(v.array(v.string())) })),
});

/** An entry of manifest.json, before its layers are located. */
export interface SavedEntry {
  readonly names: readonly string[];
  readonly configDigest: Digest;
  readonly layerCount: number;
}

export interface SaveOptions {
  /** No more data will arrive: an incomplete file stays incomplete. */
  readonly isEndKnown: boolean;
  /** Returns true for an image that was already found elsewhere; it is not read here. */
  readonly isElsewhere?: (entry: SavedEntry) => boolean;
}

/** @throws json.*, digest.*, limit.exceeded; content that may still arrive is in `missing` */
export function readDockerSave(
  bundle: Bundle,
  { isEndKnown, isElsewhere = () => false }: SaveOptions,
): { images: SavedImage[]; missing: Missing[] } {
  const missing: Missing[] = [];
  const miss = (path: string) => missing.push(missingFile(path, SAVE_MANIFEST));
  const bytes = bundle.read(SAVE_MANIFEST, DOCKER_SAVE_MANIFEST_BYTES_MAX);
  if (bytes === undefined || !isWholeJson(bytes)) {
    miss(SAVE_MANIFEST);
    return { images: [], missing };
  }
  const entries = parseJson(bytes, SAVE_MANIFEST, saveManifest, DOCKER_SAVE_MANIFEST_BYTES_MAX);
  if (entries.length > SAVED_IMAGES_MAX) {
    throw new DropdockError('limit.exceeded', `More than ${SAVED_IMAGES_MAX} images.`, {
      path: SAVE_MANIFEST,
    });
  }
  const readConfig = configReader(bundle);
  const images = entries.flatMap(({ Config, RepoTags, Layers }): SavedImage[] => {
    const names = RepoTags ?? [];
    const configPath = checkPath(Config);
    const layerPaths = (Layers ?? []).map(checkPath);
    const config = readConfig(configPath);
    if (config === undefined || (!isEndKnown && !isWholeJson(config))) {
      miss(configPath);
      return [];
    }
    const configDigest = digestOfConfig(config, configPath);
    if (isElsewhere({ names, configDigest, layerCount: layerPaths.length })) return [];
    const absent = layerPaths.filter((path) => bundle.size(path) === undefined);
    for (const path of absent) miss(path);
    if (absent.length > 0) return [];
    return [readImage(bundle, { config, configDigest, configPath, names, layerPaths })];
  });
  return { images, missing };
}

/** Normalizes a path like the names of members: `./` and the backslashes of Windows are accepted. */
function checkPath(path: string): string {
  const inside = memberPath(path);
  if (inside !== undefined && inside !== '') return inside;
  const [code, why] =
    inside === ''
      ? (['json.invalid', 'is empty'] as const)
      : (['path.outside', 'points outside the drop'] as const);
  throw new DropdockError(code, `The path "${path}" in ${SAVE_MANIFEST} ${why}.`, {
    path: SAVE_MANIFEST,
    found: path,
  });
}

/** Reads each config once, even if many images share it. @throws limit.exceeded */
function configReader(bundle: Bundle): (path: string) => Buffer | undefined {
  const known = new Map<string, Buffer | undefined>();
  let bytes = 0;
  return (path) => {
    if (known.has(path)) return known.get(path);
    const config = bundle.read(path, MANIFEST_BYTES_MAX);
    bytes += config?.length ?? 0;
    if (bytes > SAVED_CONFIGS_BYTES_MAX) {
      throw new DropdockError('limit.exceeded', 'The image configs are larger than the limit.', {
        path,
      });
    }
    known.set(path, config);
    return config;
  };
}

/** @throws digest.mismatch if the file name contains another digest */
function digestOfConfig(config: Buffer, path: string): Digest {
  const configDigest = digestFrom('sha256', createHash('sha256').update(config).digest('hex'));
  const named = /([0-9a-f]{64})(?:\.json)?$/.exec(path)?.[1];
  if (named === undefined || named === digestHex(configDigest)) return configDigest;
  throw new DropdockError('digest.mismatch', `${path} does not match the digest in its name.`, {
    path,
    digest: `sha256:${named}`,
    found: configDigest,
  });
}

interface SavedFiles extends Pick<SavedImage, 'names' | 'config' | 'configDigest'> {
  readonly configPath: string;
  readonly layerPaths: readonly string[];
}

function readImage(
  bundle: Bundle,
  { names, config, configDigest, configPath, layerPaths }: SavedFiles,
): SavedImage {
  const { rootfs } = parseJson(config, configPath, imageConfig, MANIFEST_BYTES_MAX);
  const diffIds = rootfs?.diff_ids ?? [];
  if (diffIds.length !== layerPaths.length) {
    throw new DropdockError(
      'json.invalid',
      `${configPath} lists ${diffIds.length} layers, but ${SAVE_MANIFEST} lists ${layerPaths.length}.`,
      { path: configPath },
    );
  }
  const layers = layerPaths.map((path, at) => ({
    path,
    source: bundle.source(path),
    size: bundle.size(path) ?? 0,
    diffId: parseDigest(diffIds[at] ?? '', configPath),
  }));
  return { names, config, configDigest, layers };
}

export interface StoredLayer {
  readonly digest: Digest;
  readonly size: number;
  readonly compression: 'none' | 'gzip' | 'zstd';
}

/**
 * Writes a manifest like docker: these fields in this order, indented by three spaces. Any change here
 * changes digests.
 */
export function buildManifest(image: SavedImage, layers: readonly StoredLayer[]): Buffer {
  const isDocker = layers.every(({ compression }) => compression !== 'zstd');
  const tar = isDocker
    ? 'application/vnd.docker.image.rootfs.diff.tar'
    : 'application/vnd.oci.image.layer.v1.tar';
  const suffix = { none: '', gzip: isDocker ? '.gzip' : '+gzip', zstd: '+zstd' };
  const manifest = {
    schemaVersion: 2,
    mediaType: isDocker ? MEDIA_TYPES.docker2 : MEDIA_TYPES.ociManifest,
    config: {
      mediaType: isDocker ? MEDIA_TYPES.dockerConfig : MEDIA_TYPES.ociConfig,
      size: image.config.length,
      digest: image.configDigest,
    },
    layers: layers.map(({ digest, size, compression }) => ({
      mediaType: `${tar}${suffix[compression]}`,
      size,
      digest,
    })),
  };
  return Buffer.from(JSON.stringify(manifest, undefined, 3));
}
