/** The content files of a snapshot: blobs, and manifests by digest and by tag. Pure. */
import type { Digest } from '../image/digest.js';
import { type ManifestKind, manifestKind } from '../image/media-types.js';
import type { Tag } from '../image/names.js';
import type { RepositoryState } from './state.js';

/** How Crane gets the tag of an OCI image (design.md 4). */
export type RedirectOci = 'convert' | 'passthrough' | 'omit';

export type ContentFile =
  /** Content by digest; any file with the same bytes can be linked. */
  | { readonly path: string; readonly content: Digest; readonly size: number }
  /** A tag: a new file if the tag is new or moved, otherwise the file of the previous snapshot. */
  | { readonly path: string; readonly tagged: Digest; readonly size: number };

/** Returns all files except the generated texts. */
export function renderContent(state: RepositoryState, redirectOci: RedirectOci): ContentFile[] {
  return [...renderBlobs(state), ...renderManifests(state, redirectOci)];
}

function renderBlobs(state: RepositoryState): ContentFile[] {
  const sizes = new Map<Digest, number>();
  for (const { blobs } of state.manifests.values()) {
    for (const { digest, size } of blobs) sizes.set(digest, size);
  }
  return [...sizes].map(([digest, size]) => blobFile(digest, size));
}

export function blobFile(digest: Digest, size: number): ContentFile {
  return { path: `blobs/${digest}`, content: digest, size };
}

/** Cached, because each state is rendered again when it is compared with the next one. */
const renderedOf = new WeakMap<
  RepositoryState,
  { readonly redirectOci: RedirectOci; readonly files: readonly ContentFile[] }
>();

export function renderManifests(
  state: RepositoryState,
  redirectOci: RedirectOci,
): readonly ContentFile[] {
  const known = renderedOf.get(state);
  if (known?.redirectOci === redirectOci) return known.files;
  const files = renderAllManifests(state, redirectOci);
  renderedOf.set(state, { redirectOci, files });
  return files;
}

function renderAllManifests(state: RepositoryState, redirectOci: RedirectOci): ContentFile[] {
  const files: ContentFile[] = [];
  for (const digest of state.manifests.keys()) {
    files.push(...manifestFiles(state, digest, redirectOci));
  }
  for (const tag of state.tags.keys()) files.push(...tagFiles(state, tag, redirectOci));
  return files;
}

/** Returns the paths of a manifest by digest; empty if the state does not contain it. */
export function manifestFiles(
  { manifests }: RepositoryState,
  digest: Digest,
  redirectOci: RedirectOci,
): ContentFile[] {
  const record = manifests.get(digest);
  if (record === undefined) return [];
  const { mediaType, size, stored = digest } = record;
  return servedAs(mediaType, redirectOci).map((kind) => ({
    path: `manifests/${kind}/${digest}`,
    content: stored,
    size,
  }));
}

/**
 * Returns the files of a tag, in its own form and in the Docker form for Crane; empty if the tag does not
 * exist.
 */
export function tagFiles(
  state: RepositoryState,
  tag: Tag,
  redirectOci: RedirectOci,
): ContentFile[] {
  const digest = state.tags.get(tag)?.digest;
  if (digest === undefined) return [];
  const files = renderTag(state, tag, digest, redirectOci);
  const docker = state.conversions.get(digest);
  return docker ? [...files, ...renderTag(state, tag, docker, redirectOci)] : files;
}

function renderTag(
  state: RepositoryState,
  tag: Tag,
  digest: Digest,
  redirectOci: RedirectOci,
): ContentFile[] {
  const record = state.manifests.get(digest);
  if (record === undefined) return [];
  const { mediaType, size, stored = digest } = record;
  return servedAs(mediaType, redirectOci).map((kind) => ({
    path: `manifests/${kind}/${tag}`,
    tagged: stored,
    size,
  }));
}

/**
 * Crane redirects requests that it does not know to manifests/1, so passed-through manifests must be there.
 */
function servedAs(mediaType: string, redirectOci: RedirectOci): ManifestKind[] {
  const kind = manifestKind(mediaType);
  if (kind === undefined) return [];
  const isOci = kind === 'oci' || kind === 'oci-index';
  return isOci && redirectOci === 'passthrough' ? [kind, '1'] : [kind];
}

/**
 * Returns the tag files that the base serves at the same path with the same content. Their files are reused,
 * so that conditional requests of clients still match.
 */
export function unmovedTags(
  files: readonly ContentFile[],
  base: { readonly state: RepositoryState; readonly redirectOci: RedirectOci } | undefined,
): Set<string> {
  if (base === undefined) return new Set();
  const before = new Map<string, Digest>();
  for (const file of renderManifests(base.state, base.redirectOci)) {
    if ('tagged' in file) before.set(file.path, file.tagged);
  }
  return new Set(
    files
      .filter((file) => 'tagged' in file && before.get(file.path) === file.tagged)
      .map(({ path }) => path),
  );
}
