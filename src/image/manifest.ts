/** Reads manifests and indexes of every kind into one shape, and lists what they refer to. Pure. */
import * as v from 'valibot';
import { DropdockError } from '../errors.js';
import { type Digest, parseDigest } from './digest.js';
import { anyObject, checkShape, parseJson, size, stringMap } from './json.js';
import { LAYERS_MAX, MANIFEST_BYTES_MAX } from './limits.js';
import { isIndexKind, type ManifestKind, MEDIA_TYPES, manifestKind } from './media-types.js';
import { schema1Layers } from './schema1.js';

/** The size of a blob that its manifest does not tell (Docker schema 1). */
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
  /** Base64 of the content itself, for very small blobs. */
  readonly data?: string | undefined;
  readonly artifactType?: string | undefined;
}

/** What a manifest says of itself and refers to. */
export interface Manifest {
  readonly kind: ManifestKind;
  readonly mediaType: string;
  /** Undefined for an index. */
  readonly config: Descriptor | undefined;
  readonly layers: readonly Descriptor[];
  /** What an index lists; empty for an image. */
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
  layers: v.optional(v.unknown()),
  fsLayers: v.optional(v.unknown()),
  signatures: v.optional(v.unknown()),
});

const about = {
  subject: v.nullish(rawDescriptor),
  artifactType: text,
  annotations: v.nullish(stringMap),
};

/** Go programs write null for a list of nothing. */
const imageBody = v.object({
  config: rawDescriptor,
  layers: v.nullable(v.pipe(v.array(rawDescriptor), v.maxLength(LAYERS_MAX))),
  ...about,
});

/** As above; and `umoci init`, docker save by digest and others begin with an index of nothing. */
const indexBody = v.object({ manifests: v.nullish(v.array(rawDescriptor)), ...about });

/**
 * @param bytes the manifest as it is served
 * @param expectedType the media type of the descriptor that led here, if any
 * @param where the path or digest an error names
 * @throws json.*, digest.invalid, manifest.unsupported, manifest.type-mismatch
 */
export function parseManifest(
  bytes: Buffer,
  expectedType: string | undefined,
  where: string,
): Manifest {
  const document = parseJson(bytes, where, anyObject, MANIFEST_BYTES_MAX);
  const mediaType = mediaTypeOf(checkShape(document, where, header), expectedType, where);
  const kind = manifestKind(mediaType);
  if (kind === undefined) {
    throw new DropdockError('manifest.unsupported', `${where} is of type ${mediaType}.`, {
      path: where,
      mediaType,
    });
  }
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

/** It says no sizes; `size` is UNKNOWN_SIZE, and what lies under the digest counts. */
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

/** The top of an OCI image layout: image-spec, image-layout.md "index.json". */
export function parseLayoutIndex(document: unknown, where: string): Descriptor[] {
  const { manifests } = checkShape(document, where, indexBody);
  return (manifests ?? []).map((raw) => toDescriptor(raw, where));
}

/**
 * The body's own media type counts, and must agree with the descriptor's. OCI allows it to be left
 * out; then the descriptor says it, and where there is none, the shape.
 */
function mediaTypeOf(
  document: v.InferOutput<typeof header>,
  expectedType: string | undefined,
  where: string,
): string {
  const own = document.mediaType;
  if (own !== undefined && expectedType !== undefined && own !== expectedType) {
    throw new DropdockError(
      'manifest.type-mismatch',
      `${where} says it is ${own}, but what refers to it says ${expectedType}.`,
      { path: where, mediaType: own, expected: expectedType },
    );
  }
  if (own !== undefined) return own;
  if (expectedType !== undefined) return expectedType;
  if (document.schemaVersion === 1 || document.fsLayers !== undefined) {
    return document.signatures === undefined ? MEDIA_TYPES.docker1 : MEDIA_TYPES.docker1signed;
  }
  return document.manifests === undefined ? MEDIA_TYPES.ociManifest : MEDIA_TYPES.ociIndex;
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

/** `linux/arm64/v8`, or undefined where an entry names none. */
export function platformName(platform: Platform | undefined): string | undefined {
  if (platform === undefined) return undefined;
  const { os, architecture, variant } = platform;
  return variant ? `${os}/${architecture}/${variant}` : `${os}/${architecture}`;
}
