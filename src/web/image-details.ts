/** Reads what the page shows of a manifest and its config. Pure; everything is bounded. */
import { type ContentKind, contentKind, kindOfType, shownType } from '../image/content-kind.js';
import { type Descriptor, type Manifest, parseManifest, platformName } from '../image/manifest.js';

/** A label, an annotation or a field: name and text. */
export type Named = readonly [name: string, text: string];

/** At most LISTED_MAX entries, and how many there are. */
export interface Listed<Item> {
  readonly items: readonly Item[];
  readonly count: number;
}

export interface LayerDetails {
  readonly digest: string;
  readonly mediaType: string;
  /** Bytes; undefined if the manifest does not tell (Docker schema 1). */
  readonly size: number | undefined;
  /** The file name of an artifact's layer. */
  readonly title: string | undefined;
}

export interface ManifestDetails {
  readonly kind: ContentKind;
  /** The type of an artifact. */
  readonly type: string | undefined;
  readonly mediaType: string;
  readonly config: Descriptor | undefined;
  readonly annotations: Listed<Named>;
  readonly layers: Listed<LayerDetails>;
  /** The entries of an index. */
  readonly children: readonly ChildDetails[];
  readonly subject: string | undefined;
}

export interface ChildDetails {
  readonly digest: string;
  readonly platform: string | undefined;
  /** Buildkit puts an attestation next to the image that it is about. */
  readonly attests: string | undefined;
}

/** What the config of an image tells. */
export interface ConfigDetails {
  readonly created: string | undefined;
  readonly platform: string | undefined;
  /** Entrypoint, command, user and so on, as far as they are set. */
  readonly fields: readonly Named[];
  readonly labels: Listed<Named>;
}

const LISTED_MAX = 100;
const TEXT_MAX = 1000;
const PLATFORM_MAX = 60;

/** @param servedAs its media type, which its bytes may not tell. @throws json.*, manifest.* */
export function readManifestDetails(
  bytes: Buffer,
  servedAs: string | undefined,
  where: string,
): ManifestDetails {
  const manifest = parseManifest(bytes, servedAs, where);
  const { mediaType, config, annotations, subject } = manifest;
  const kind = contentKind(manifest);
  return {
    kind,
    type: kind === 'image' ? undefined : shownType(manifest),
    mediaType,
    config,
    annotations: listNamed(annotations ?? {}),
    layers: listLayers(manifest),
    children: manifest.manifests.slice(0, LISTED_MAX).map(describeChild),
    subject: subject?.digest,
  };
}

function listLayers({ layers }: Manifest): Listed<LayerDetails> {
  const items = layers.slice(0, LISTED_MAX).map(({ digest, mediaType, size, annotations }) => ({
    digest,
    mediaType,
    size: size < 0 ? undefined : size,
    title: annotations?.['org.opencontainers.image.title']?.slice(0, TEXT_MAX),
  }));
  return { items, count: layers.length };
}

function describeChild({ digest, platform, annotations }: Descriptor): ChildDetails {
  const name = platformName(platform)?.slice(0, PLATFORM_MAX);
  const isAttestation = annotations?.['vnd.docker.reference.type'] === 'attestation-manifest';
  const attests = isAttestation ? annotations['vnd.docker.reference.digest'] : undefined;
  return { digest, platform: name, attests };
}

const NO_CONFIG: ConfigDetails = {
  created: undefined,
  platform: undefined,
  fields: [],
  labels: { items: [], count: 0 },
};

/** Returns nothing of a config that is no JSON object; every field may have any type. */
export function readConfigDetails(bytes: Buffer): ConfigDetails {
  const config = parseObject(bytes);
  if (config === undefined) return NO_CONFIG;
  const { os, architecture, variant, created, config: run } = config;
  const runs = isObject(run) ? run : {};
  const isPlatform = typeof os === 'string' && typeof architecture === 'string';
  const named = typeof variant === 'string' ? { variant } : {};
  const platform = isPlatform ? platformName({ os, architecture, ...named }) : undefined;
  return {
    created: typeof created === 'string' ? created.slice(0, PLATFORM_MAX) : undefined,
    platform: platform?.slice(0, PLATFORM_MAX),
    fields: FIELDS.flatMap(([key, label]): Named[] => {
      const text = showValue(runs[key]);
      return text === '' ? [] : [[label, text]];
    }),
    labels: listNamed(isObject(runs.Labels) ? runs.Labels : {}),
  };
}

const FIELDS = [
  ['Entrypoint', 'Entrypoint'],
  ['Cmd', 'Command'],
  ['User', 'User'],
  ['WorkingDir', 'Working directory'],
  ['ExposedPorts', 'Ports'],
  ['Volumes', 'Volumes'],
] as const;

/** `["sh","-c"]` as Docker writes it; the keys of an object; a text as it is. */
function showValue(value: unknown): string {
  if (typeof value === 'string') return value.slice(0, TEXT_MAX);
  if (Array.isArray(value)) return value.length === 0 ? '' : cut(JSON.stringify(value));
  return isObject(value) ? cut(Object.keys(value).join(', ')) : '';
}

function listNamed(values: Readonly<Record<string, unknown>>): Listed<Named> {
  const all = Object.entries(values);
  const items = all
    .slice(0, LISTED_MAX)
    .map(([key, value]): Named => [cut(key), cut(typeof value === 'string' ? value : '')])
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return { items, count: all.length };
}

function cut(text: string): string {
  return text.length > TEXT_MAX ? `${text.slice(0, TEXT_MAX)}…` : text;
}

/** The kind of an attached manifest, by its type or by the tag that attaches it. */
export function attachedKind(given: {
  readonly artifactType?: string;
  readonly tag?: string;
}): ContentKind {
  const suffix = given.tag?.slice(given.tag.lastIndexOf('.') + 1);
  const byTag = { sig: 'signature', att: 'attestation', sbom: 'sbom' } as const;
  const known = kindOfType(given.artifactType ?? '');
  return known ?? byTag[suffix as keyof typeof byTag] ?? 'artifact';
}

function parseObject(bytes: Buffer): Readonly<Record<string, unknown>> | undefined {
  if (bytes[0] !== 0x7b) return undefined;
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'));
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
