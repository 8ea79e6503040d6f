/** What a manifest holds: an image, a Helm chart, a signature, or another artifact. Pure. */
import type { Manifest } from './manifest.js';
import { isIndexKind, MEDIA_TYPES } from './media-types.js';

export type ContentKind =
  | 'image'
  | 'helm'
  | 'wasm'
  | 'signature'
  | 'attestation'
  | 'sbom'
  | 'artifact';

/** How each kind is called in a text. */
export const KIND_NAMES: Readonly<Record<ContentKind, string>> = {
  image: 'Image',
  helm: 'Helm chart',
  wasm: 'WASM module',
  signature: 'Signature',
  attestation: 'Attestation',
  sbom: 'SBOM',
  artifact: 'Artifact',
};

/** The first match decides. Versions (`.v1`) and suffixes (`+json`) of media types differ between tools. */
const BY_TYPE: readonly (readonly [RegExp, ContentKind])[] = [
  [/^application\/vnd\.cncf\.helm\./, 'helm'],
  [/^application\/(?:vnd\.)?wasm\b|^application\/vnd\.(?:module\.)?wasm\./, 'wasm'],
  [/simplesigning|notary\.signature|sigstore\.bundle|cosign\.(?:artifact\.)?sig/, 'signature'],
  [/spdx|cyclonedx|syft|\bsbom\b/, 'sbom'],
  [/in-toto|dsse\.envelope|attestation|provenance/, 'attestation'],
];

/** Returns the kind that a type of an artifact names; undefined if it names none of them. */
export function kindOfType(mediaType: string): ContentKind | undefined {
  return BY_TYPE.find(([pattern]) => pattern.test(mediaType))?.[1];
}

const IMAGE_CONFIGS = new Set<string>([MEDIA_TYPES.ociConfig, MEDIA_TYPES.dockerConfig]);

type Described = Pick<Manifest, 'kind' | 'config' | 'layers' | 'artifactType'>;

/**
 * Returns what a manifest holds. The type of the artifact and of the config decide; cosign gives its
 * signatures the config of an image, so there the layers decide.
 */
export function contentKind({ kind, config, layers, artifactType }: Described): ContentKind {
  if (kind === '1' || (isIndexKind(kind) && !artifactType)) return 'image';
  const types = [artifactType, config?.mediaType, ...layers.map(({ mediaType }) => mediaType)];
  for (const type of types) {
    const known = type && kindOfType(type);
    if (known) return known;
  }
  return !artifactType && IMAGE_CONFIGS.has(config?.mediaType ?? '') ? 'image' : 'artifact';
}

/** The type to show for an artifact: its own, or that of its config. */
export function shownType({ config, artifactType }: Described): string | undefined {
  return artifactType || config?.mediaType;
}
