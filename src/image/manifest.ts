/** Parses manifests and indexes of every kind into one type, and lists their references. Pure. */
import * as v from 'valibot';
import { DropdockError } from '../errors.js';
import { ambiguous, checkMembers } from './ambiguity.js';
import { type Digest, parseDigest } from './digest.js';
import { anyObject, checkShape, parseJson, size, stringMap } from './json.js';
import { LAYERS_MAX, MANIFEST_BYTES_MAX } from './limits.js';
import {
  isIndexKind,
  type ManifestFamily,
  type ManifestKind,
  MEDIA_TYPES,
  manifestFamily,
  manifestKind,
} from './media-types.js';
import { schema1Layers } from './schema1.js';

/** The size of a blob whose manifest does not contain it (Docker schema 1). */
export const UNKNOWN_SIZE = -1;

/** OCI image-spec, image-index.md "platform". */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string | undefined;
}

/** OCI image-spec, descriptor.md; `digest` is checked. */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  readonly annotations?: Readonly<Record<string, string>> | undefined;
  readonly platform?: Platform | undefined;
  readonly urls?: readonly string[] | undefined;
  /** Base64 of the content, for very small blobs. */
  readonly data?: string | undefined;
  readonly artifactType?: string | undefined;
}

/** The properties and references of a manifest. */
export interface Manifest {
  readonly kind: ManifestKind;
  readonly mediaType: string;
  /** Undefined for an index. */
  readonly config: Descriptor | undefined;
  readonly layers: readonly Descriptor[];
  /** The entries of an index; empty for an image. */
  readonly manifests: readonly Descriptor[];
  readonly subject: Descriptor | undefined;
  readonly artifactType: string | undefined;
  readonly annotations: Readonly<Record<string, string>> | undefined;
}

const text = v.nullish(v.string());

const rawDescriptor = v.object({
  mediaType: v.pipe(v.string(), v.minLength(1), v.maxLength(255)),
  digest: v.string(),
  size,
  annotations: v.nullish(stringMap),
  platform: v.nullish(v.object({ os: v.string(), architecture: v.string(), variant: text })),
  urls: v.nullish(v.array(v.string())),
  data: text,
  artifactType: text,
});
type RawDescriptor = v.InferOutput<typeof rawDescriptor>;

const header = v.object({
  schemaVersion: v.optional(v.number()),
  mediaType: v.optional(v.string()),
  manifests: v.optional(v.unknown()),
  config: v.optional(v.unknown()),
  layers: v.optional(v.unknown()),
  fsLayers: v.optional(v.unknown()),
  history: v.optional(v.unknown()),
  signatures: v.optional(v.unknown()),
});

const about = {
  subject: v.nullish(rawDescriptor),
  artifactType: text,
  annotations: v.nullish(stringMap),
};

/** Go programs write null for an empty list. */
const imageBody = v.object({
  config: rawDescriptor,
  layers: v.nullable(v.pipe(v.array(rawDescriptor), v.maxLength(LAYERS_MAX))),
  ...about,
});

/** As above; `umoci init`, docker save by digest and other tools write an empty index. */
const indexBody = v.object({ manifests: v.nullish(v.array(rawDescriptor)), ...about });

/**
 * Derives the type and references of a manifest from its bytes. Its descriptor only decides what the bytes
 * leave open: OCI or Docker, if the body has no `mediaType`.
 * @param bytes the manifest as served
 * @param expectedType the media type in the referring descriptor, if any
 * @param where the path or digest for error messages
 * @throws json.*, digest.invalid, manifest.unsupported, manifest.type-mismatch, manifest.ambiguous
 */
export function parseManifest(
  bytes: Buffer,
  expectedType: string | undefined,
  where: string,
): Manifest {
  const document = parseJson(bytes, where, anyObject, MANIFEST_BYTES_MAX);
  checkMembers(bytes, where);
  const { mediaType, kind } = typeOf(checkShape(document, where, header), expectedType, where);
  if (kind === '1') return schema1Manifest(document, mediaType, where);
  if (isIndexKind(kind)) {
    const body = checkShape(document, where, indexBody);
    return {
      kind,
      mediaType,
      config: undefined,
      layers: [],
      manifests: (body.manifests ?? []).map((raw) => toDescriptor(raw, where)),
      ...describe(body, where),
    };
  }
  const body = checkShape(document, where, imageBody);
  return {
    kind,
    mediaType,
    config: toDescriptor(body.config, where),
    layers: (body.layers ?? []).map((raw) => toDescriptor(raw, where)),
    manifests: [],
    ...describe(body, where),
  };
}

/** The format has no sizes: `size` is UNKNOWN_SIZE, and the size of the stored blob is used. */
function schema1Manifest(document: unknown, mediaType: string, where: string): Manifest {
  const layerType = 'application/vnd.docker.image.rootfs.diff.tar.gzip';
  const layers = schema1Layers(document, where);
  return {
    kind: '1',
    mediaType,
    config: undefined,
    layers: layers.map((digest) => ({ mediaType: layerType, digest, size: UNKNOWN_SIZE })),
    manifests: [],
    subject: undefined,
    artifactType: undefined,
    annotations: undefined,
  };
}

/**
 * Returns the blobs of a manifest: config, layers, and entries of an index that are not manifests. Decided by
 * its bytes alone: one of these images may be a layer of another manifest.
 */
export function blobsOf({
  config,
  layers,
  manifests,
}: Pick<Manifest, 'config' | 'layers' | 'manifests'>): Descriptor[] {
  const others = manifests.filter(({ mediaType }) => manifestKind(mediaType) === undefined);
  return [...(config ? [config] : []), ...layers, ...others];
}

/** The top of an OCI image layout: image-spec, image-layout.md "index.json". */
export function parseLayoutIndex(document: unknown, where: string): Descriptor[] {
  const { manifests } = checkShape(document, where, indexBody);
  return (manifests ?? []).map((raw) => toDescriptor(raw, where));
}

type Header = v.InferOutput<typeof header>;

/**
 * The media type in the body takes precedence, and must match the descriptor's. OCI allows to omit it; then
 * the descriptor decides, within what the structure allows.
 */
function typeOf(
  document: Header,
  expectedType: string | undefined,
  where: string,
): { mediaType: string; kind: ManifestKind } {
  const own = document.mediaType;
  if (own !== undefined && expectedType !== undefined && own !== expectedType) {
    throw new DropdockError(
      'manifest.type-mismatch',
      `The media type of ${where} is ${own}, but its descriptor says ${expectedType}.`,
      { path: where, mediaType: own, expected: expectedType },
    );
  }
  const family = familyOf(document, where);
  const structural = structuralType(document, family);
  const mediaType = own ?? expectedType ?? structural;
  const kind = manifestKind(mediaType);
  if (kind === undefined) {
    throw new DropdockError('manifest.unsupported', `${where}: unsupported type ${mediaType}.`, {
      path: where,
      mediaType,
    });
  }
  if (family !== undefined && manifestFamily(kind) !== family) {
    const by = own === undefined ? 'has a descriptor of type' : 'has the media type';
    throw ambiguous(where, `${by} ${mediaType}, but the structure of ${BUILT_AS[family]}`);
  }
  // Clients compute the digest of a signed manifest differently.
  if (family === 'schema1' && mediaType !== structural) {
    throw ambiguous(where, `has a descriptor of type ${mediaType}, but is ${structural}`);
  }
  return { mediaType, kind };
}

const BUILT_AS: Readonly<Record<ManifestFamily, string>> = {
  schema1: 'a Docker schema 1 manifest',
  index: 'an index',
  image: 'an image manifest',
};

/**
 * Returns the type of a manifest by its members, like containerd and containers/image (CVE-2021-41190: a
 * document that is an index for one client and an image for another). Undefined if no member tells.
 */
function familyOf(document: Header, where: string): ManifestFamily | undefined {
  const { schemaVersion, fsLayers, history, manifests, config, layers } = document;
  const families: ManifestFamily[] = [];
  if (schemaVersion === 1 || fsLayers !== undefined || history !== undefined) {
    families.push('schema1');
  }
  if (manifests !== undefined) families.push('index');
  if (config !== undefined || layers !== undefined) families.push('image');
  const [family, other] = families;
  if (family === undefined || other === undefined) return family;
  throw ambiguous(where, `is both ${BUILT_AS[family]} and ${BUILT_AS[other]}`);
}

/** Returns the media type for a body without one, if the descriptor gives none either. */
function structuralType({ signatures }: Header, family: ManifestFamily | undefined): string {
  if (family === 'schema1') {
    return signatures === undefined ? MEDIA_TYPES.docker1 : MEDIA_TYPES.docker1signed;
  }
  return family === 'index' ? MEDIA_TYPES.ociIndex : MEDIA_TYPES.ociManifest;
}

function describe(
  body: v.InferOutput<typeof imageBody> | v.InferOutput<typeof indexBody>,
  where: string,
): Pick<Manifest, 'subject' | 'artifactType' | 'annotations'> {
  return {
    subject: body.subject ? toDescriptor(body.subject, where) : undefined,
    artifactType: body.artifactType ?? undefined,
    annotations: body.annotations ?? undefined,
  };
}

function toDescriptor(raw: RawDescriptor, where: string): Descriptor {
  return {
    mediaType: raw.mediaType,
    digest: parseDigest(raw.digest, where),
    size: raw.size,
    annotations: raw.annotations ?? undefined,
    platform: raw.platform
      ? {
          os: raw.platform.os,
          architecture: raw.platform.architecture,
          variant: raw.platform.variant ?? undefined,
        }
      : undefined,
    urls: raw.urls ?? undefined,
    data: raw.data ?? undefined,
    artifactType: raw.artifactType ?? undefined,
  };
}

/** `linux/arm64/v8`; undefined if the entry has no platform. */
export function platformName(platform: Platform | undefined): string | undefined {
  if (platform === undefined) return undefined;
  const { os, architecture, variant } = platform;
  return variant ? `${os}/${architecture}/${variant}` : `${os}/${architecture}`;
}
