/** Media types of manifests and layers, and the directory each kind of manifest is served from. */

/**
 * Where a manifest lies in a snapshot: `manifests/<kind>/`. One directory is one Content-Type, so
 * that a plain web server can name it. `1`, `2` and `list` are Pulp's, and Crane asks for them.
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

/** Undefined for a media type that is no manifest: a config, a layer, an artifact's blob. */
export function manifestKind(mediaType: string): ManifestKind | undefined {
  return KINDS.get(mediaType);
}

/** The media types a kind's manifests have: one, but for the two of Docker schema 1. */
export function mediaTypeOf(kind: ManifestKind): string[] {
  return [...KINDS].flatMap(([type, each]) => (each === kind ? [type] : []));
}

/**
 * The media type of a manifest in `manifests/<kind>/`. Only under `1` does the content decide:
 * schema 1 is signed or not, and with redirect.oci: passthrough OCI manifests lie there for Crane.
 */
export function manifestMediaType(kind: ManifestKind, bytes: Buffer): string {
  const [type = MEDIA_TYPES.docker1, signed] = mediaTypeOf(kind);
  if (signed === undefined) return type;
  const document = JSON.parse(bytes.toString('utf8')) as Record<string, unknown>;
  // As `parseManifest` tells: what passes through may have a member `signatures` that means nothing.
  const isSchema1 = document.schemaVersion === 1 || document.fsLayers !== undefined;
  if (isSchema1) return document.signatures === undefined ? type : signed;
  return document.manifests !== undefined ? MEDIA_TYPES.ociIndex : MEDIA_TYPES.ociManifest;
}

/** What the members of a manifest tell; whether it is Docker's or OCI's they may leave open. */
export type ManifestFamily = 'schema1' | 'index' | 'image';

export function manifestFamily(kind: ManifestKind): ManifestFamily {
  if (kind === '1') return 'schema1';
  return isIndexKind(kind) ? 'index' : 'image';
}

export function isIndexKind(kind: ManifestKind): boolean {
  return kind === 'list' || kind === 'oci-index';
}

/**
 * Layers that need not be in a drop: the deprecated non-distributable types, which clients fetch
 * from the `urls` of their descriptor (image-spec v1.1, layer.md).
 */
export function isForeignLayer(mediaType: string): boolean {
  return mediaType.includes('.nondistributable.') || mediaType.includes('.foreign.');
}

/** Docker schema 2's name for a layer; undefined where it has none (zstd, artifacts). */
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
