/** Media types of manifests and layers, and the directory that each kind of manifest is served from. */

/**
 * The directory of a manifest in a snapshot: `manifests/<kind>/`. Each directory has one Content-Type, so a
 * plain web server can set it. `1`, `2` and `list` are from Pulp, and Crane requests them.
 */
export type ManifestKind = '1' | '2' | 'list' | 'oci' | 'oci-index';

export const MEDIA_TYPES = {
  docker1: 'application/vnd.docker.distribution.manifest.v1+json',
  docker1signed: 'application/vnd.docker.distribution.manifest.v1+prettyjws',
  docker2: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerConfig: 'application/vnd.docker.container.image.v1+json',
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  ociConfig: 'application/vnd.oci.image.config.v1+json',
  ociEmpty: 'application/vnd.oci.empty.v1+json',
} as const;

const KINDS: ReadonlyMap<string, ManifestKind> = new Map([
  [MEDIA_TYPES.docker1, '1'],
  [MEDIA_TYPES.docker1signed, '1'],
  [MEDIA_TYPES.docker2, '2'],
  [MEDIA_TYPES.dockerList, 'list'],
  [MEDIA_TYPES.ociManifest, 'oci'],
  [MEDIA_TYPES.ociIndex, 'oci-index'],
]);

/** Undefined for a media type that is not a manifest: a config, a layer, an artifact's blob. */
export function manifestKind(mediaType: string): ManifestKind | undefined {
  return KINDS.get(mediaType);
}

/** Returns the media types of a kind: one, except for Docker schema 1, which has two. */
export function mediaTypeOf(kind: ManifestKind): string[] {
  return [...KINDS].flatMap(([type, each]) => (each === kind ? [type] : []));
}

/**
 * Returns the media type of a manifest in `manifests/<kind>/`. Only `1` requires the content: schema 1 may be
 * signed, and with redirect.oci: passthrough it also contains OCI manifests for Crane.
 */
export function manifestMediaType(kind: ManifestKind, bytes: Buffer): string {
  const [type = MEDIA_TYPES.docker1, signed] = mediaTypeOf(kind);
  if (signed === undefined) return type;
  const document = JSON.parse(bytes.toString('utf8')) as Record<string, unknown>;
  // Same rule as in `parseManifest`: an OCI manifest may have an unrelated member `signatures`.
  const isSchema1 = document.schemaVersion === 1 || document.fsLayers !== undefined;
  if (isSchema1) return document.signatures === undefined ? type : signed;
  return document.manifests !== undefined ? MEDIA_TYPES.ociIndex : MEDIA_TYPES.ociManifest;
}

/** The type that the members of a manifest tell; they may not tell whether it is Docker or OCI. */
export type ManifestFamily = 'schema1' | 'index' | 'image';

export function manifestFamily(kind: ManifestKind): ManifestFamily {
  if (kind === '1') return 'schema1';
  return isIndexKind(kind) ? 'index' : 'image';
}

export function isIndexKind(kind: ManifestKind): boolean {
  return kind === 'list' || kind === 'oci-index';
}

/**
 * Returns true for layers that may be missing in a drop: the deprecated non-distributable types, which
 * clients fetch from the `urls` in their descriptor (image-spec v1.1, layer.md).
 */
export function isForeignLayer(mediaType: string): boolean {
  return mediaType.includes('.nondistributable.') || mediaType.includes('.foreign.');
}

/** Returns the Docker schema 2 type of a layer; undefined if there is none (zstd, artifacts). */
export function dockerLayerType(mediaType: string): string | undefined {
  return DOCKER_LAYERS.get(mediaType);
}

const DOCKER_LAYER = 'application/vnd.docker.image.rootfs.diff.tar';
const DOCKER_FOREIGN = 'application/vnd.docker.image.rootfs.foreign.diff.tar';
const OCI_LAYER = 'application/vnd.oci.image.layer.v1.tar';
const OCI_FOREIGN = 'application/vnd.oci.image.layer.nondistributable.v1.tar';

const DOCKER_LAYERS: ReadonlyMap<string, string> = new Map([
  [OCI_LAYER, DOCKER_LAYER],
  [`${OCI_LAYER}+gzip`, `${DOCKER_LAYER}.gzip`],
  [OCI_FOREIGN, DOCKER_FOREIGN],
  [`${OCI_FOREIGN}+gzip`, `${DOCKER_FOREIGN}.gzip`],
  [DOCKER_LAYER, DOCKER_LAYER],
  [`${DOCKER_LAYER}.gzip`, `${DOCKER_LAYER}.gzip`],
  [DOCKER_FOREIGN, DOCKER_FOREIGN],
  [`${DOCKER_FOREIGN}.gzip`, `${DOCKER_FOREIGN}.gzip`],
]);
