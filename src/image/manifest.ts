/** Reads manifests and indexes of every kind into one shape, and lists what they refer to. Pure. */
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

/** Go programs write null for a list of nothing. */
const imageBody = v.object({
  config: rawDescriptor,
  layers: v.nullable(v.pipe(v.array(rawDescriptor), v.maxLength(LAYERS_MAX))),
  ...about,
});

/** As above; and `umoci init`, docker save by digest and others begin with an index of nothing. */
const indexBody = v.object({ manifests: v.nullish(v.array(rawDescriptor)), ...about });

/**
 * What a manifest is and refers to follows from its bytes. What announces it may only add what the bytes
 * leave open: OCI or Docker, where the body has no `mediaType` of its own.
 * @param bytes the manifest as it is served
 * @param expectedType the media type of the descriptor that led here, if any
 * @param where the path or digest an error names
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

/**
 * What a manifest names as a blob: config, layers, and of an index what is no manifest. By its bytes alone:
 * another manifest may name one of these images as its layer.
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
 * The body's own media type counts, and must agree with the descriptor's. OCI allows it to be left
 * out; then the descriptor says it, as far as the structure leaves it open.
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
      `${where} says it is ${own}, but what refers to it says ${expectedType}.`,
      { path: where, mediaType: own, expected: expectedType },
    );
  }
  const family = familyOf(document, where);
  const structural = structuralType(document, family);
  const mediaType = own ?? expectedType ?? structural;
  const kind = manifestKind(mediaType);
  if (kind === undefined) {
    throw new DropdockError('manifest.unsupported', `${where} is of type ${mediaType}.`, {
      path: where,
      mediaType,
    });
  }
  if (family !== undefined && manifestFamily(kind) !== family) {
    const by = own === undefined ? 'is announced as' : 'says it is';
    throw ambiguous(where, `${by} ${mediaType}, but is built as ${BUILT_AS[family]}`);
  }
  // Whether it is signed decides how clients compute its digest.
  if (family === 'schema1' && mediaType !== structural) {
    throw ambiguous(where, `is announced as ${mediaType}, but is ${structural}`);
  }
  return { mediaType, kind };
}

const BUILT_AS: Readonly<Record<ManifestFamily, string>> = {
  schema1: 'a Docker schema 1 manifest',
  index: 'an index',
  image: 'an image manifest',
};

/**
 * What a manifest is by its members, as containerd and containers/image tell (CVE-2021-41190: a document
 * that is an index to one client and an image to another). Undefined where it has none that tell.
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

/** The media type of a body that has none, where nothing announces it. */
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

/** `linux/arm64/v8`, or undefined where an entry names none. */
export function platformName(platform: Platform | undefined): string | undefined {
  if (platform === undefined) return undefined;
  const { os, architecture, variant } = platform;
  return variant ? `${os}/${architecture}/${variant}` : `${os}/${architecture}`;
}
