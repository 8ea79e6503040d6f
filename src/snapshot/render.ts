/**
 * From a state to the files of its snapshot, as a plain list. Pure: no disk, no clock. Whoever
 * writes the list decides how; the same list can feed a directory or an object store.
 */
import { createHash } from 'node:crypto';
import { type Digest, digestAlgorithm, digestFrom, digestHex } from '../image/digest.js';
import { type ManifestKind, manifestKind } from '../image/media-types.js';
import type { Tag } from '../image/names.js';
import { renderRedirect } from './redirect.js';
import { renderReferrers } from './referrers.js';
import { type SnapshotReason, serialiseSnapshot } from './snapshot-file.js';
import type { RepositoryState } from './state.js';

/** What an OCI image's tag is to Crane (design.md 4). */
export type RedirectOci = 'convert' | 'passthrough' | 'omit';

export interface RenderOptions {
  /** The timestamp of the snapshot, and of the one it is built on. */
  readonly snapshot: string;
  readonly base: string | null;
  readonly reason: SnapshotReason;
  /** The modification time of fresh files, in seconds; grows with every snapshot. */
  readonly freshTime: number;
  readonly redirectOci: RedirectOci;
  readonly urlTemplate: string;
  readonly protected: boolean;
}

/** One file of a snapshot, by its path below it. */
export type RenderedFile =
  /** The content of this digest; any name for the same bytes will do. */
  | { readonly path: string; readonly content: Digest; readonly size: number }
  /** A tag: this content as a fresh file when new or moved, the last snapshot's when not. */
  | { readonly path: string; readonly tagged: Digest; readonly size: number }
  /** Text made here. */
  | { readonly path: string; readonly text: string };

export const SNAPSHOT_FILE = '.snapshot.json';
export const TAGS_LIST = 'tags/list';
/** In a snapshot of a repository that was removed: it keeps only what pulls under way may ask for. */
export const REMOVED_MARK = '.removed';

export function redirectFileName(id: string): string {
  return `${id}.json`;
}

export function renderSnapshot(state: RepositoryState, options: RenderOptions): RenderedFile[] {
  const manifests = renderManifests(state, options.redirectOci);
  return [
    ...renderBlobs(state),
    ...manifests,
    ...renderReferrerFiles(state),
    { path: TAGS_LIST, text: tagsListText(state.repository, [...state.tags.keys()].sort()) },
    ...(state.removed ? [{ path: REMOVED_MARK, text: '' }] : []),
    { path: SNAPSHOT_FILE, text: serialiseSnapshot(state, options) },
    redirectFile(state, options, manifests),
  ];
}

/** The redirect file alone, for comparing what would be written with what is there. */
export function renderRedirectFile(state: RepositoryState, options: RenderOptions): string {
  return redirectFile(state, options, renderManifests(state, options.redirectOci)).text;
}

/**
 * The referrers response of each subject, and for clients without that API the same under the tag
 * they look for (distribution-spec v1.1, "Referrers Tag Schema"). One that was dropped wins.
 */
function renderReferrerFiles(state: RepositoryState): RenderedFile[] {
  return [...renderReferrers(state)].flatMap(([subject, text]) => {
    const names = referrersNames(state, subject, text);
    const indexes = names.map((name) => ({ path: `manifests/oci-index/${name}`, text }));
    return [{ path: `referrers/${subject}`, text }, ...indexes];
  });
}

/** What a referrers response is called as a manifest. */
export function referrersNames(
  { tags, manifests }: RepositoryState,
  subject: Digest,
  text: string,
): (Tag | Digest)[] {
  const tag = `${digestAlgorithm(subject)}-${digestHex(subject).slice(0, 64)}` as Tag;
  if (tags.has(tag)) return [];
  // Also by its digest: clients look a tag up with HEAD, then ask for what it names.
  const digest = digestFrom('sha256', createHash('sha256').update(text).digest('hex'));
  return manifests.has(digest) ? [tag] : [tag, digest];
}

function renderBlobs(state: RepositoryState): RenderedFile[] {
  const sizes = new Map<Digest, number>();
  for (const { blobs } of state.manifests.values()) {
    for (const { digest, size } of blobs) sizes.set(digest, size);
  }
  return [...sizes].map(([digest, size]) => ({ path: `blobs/${digest}`, content: digest, size }));
}

/** What a state was rendered to is asked for again when the next one is compared with it. */
const renderedOf = new WeakMap<
  RepositoryState,
  { readonly redirectOci: RedirectOci; readonly files: readonly RenderedFile[] }
>();

function renderManifests(
  state: RepositoryState,
  redirectOci: RedirectOci,
): readonly RenderedFile[] {
  const known = renderedOf.get(state);
  if (known?.redirectOci === redirectOci) return known.files;
  const files = renderAllManifests(state, redirectOci);
  renderedOf.set(state, { redirectOci, files });
  return files;
}

function renderAllManifests(state: RepositoryState, redirectOci: RedirectOci): RenderedFile[] {
  const files: RenderedFile[] = [];
  for (const [digest, { mediaType, size, stored = digest }] of state.manifests) {
    for (const kind of servedAs(mediaType, redirectOci)) {
      files.push({ path: `manifests/${kind}/${digest}`, content: stored, size });
    }
  }
  for (const [tag, { digest }] of state.tags) {
    files.push(...renderTag(state, tag, digest, redirectOci));
    const docker = state.conversions.get(digest);
    if (docker) files.push(...renderTag(state, tag, docker, redirectOci));
  }
  return files;
}

function renderTag(
  state: RepositoryState,
  tag: Tag,
  digest: Digest,
  redirectOci: RedirectOci,
): RenderedFile[] {
  const record = state.manifests.get(digest);
  if (record === undefined) return [];
  const { mediaType, size, stored = digest } = record;
  return servedAs(mediaType, redirectOci).map((kind) => ({
    path: `manifests/${kind}/${tag}`,
    tagged: stored,
    size,
  }));
}

/** Crane sends what it does not know to manifests/1, so there it must find what passes through. */
function servedAs(mediaType: string, redirectOci: RedirectOci): ManifestKind[] {
  const kind = manifestKind(mediaType);
  if (kind === undefined) return [];
  const isOci = kind === 'oci' || kind === 'oci-index';
  return isOci && redirectOci === 'passthrough' ? [kind, '1'] : [kind];
}

/** distribution-spec v1.1, "Listing Tags": in lexical order. */
export function tagsListText(repository: string, tags: readonly string[]): string {
  return `${JSON.stringify({ name: repository, tags })}\n`;
}

function redirectFile(
  state: RepositoryState,
  options: RenderOptions,
  manifests: readonly RenderedFile[],
): { path: string; text: string } {
  const namesUnder = (directory: string) =>
    manifests
      .filter(({ path }) => path.startsWith(directory))
      .map(({ path }) => path.slice(directory.length));
  const amd64 = new Map<string, Digest>();
  for (const file of manifests) {
    if (!('tagged' in file) || !file.path.startsWith('manifests/list/')) continue;
    const digest = amd64Image(state, file.tagged);
    if (digest) amd64.set(file.path.slice('manifests/list/'.length), digest);
  }
  const text = renderRedirect({
    repository: state.repository,
    id: state.id,
    snapshot: options.snapshot,
    urlTemplate: options.urlTemplate,
    protected: options.protected,
    schema2: namesUnder('manifests/2/'),
    lists: namesUnder('manifests/list/'),
    amd64,
  });
  return { path: redirectFileName(state.id), text };
}

/** What Crane gives to clients that know no lists. */
function amd64Image(state: RepositoryState, list: Digest): Digest | undefined {
  return state.manifests
    .get(list)
    ?.children.find(
      ({ digest, platform }) => platform === 'linux/amd64' && state.manifests.has(digest),
    )?.digest;
}

/**
 * The tag files of `files` that the base serves at the same path with the same content: their
 * files are kept, so that a client's conditional request still matches.
 */
export function unmovedTags(
  files: readonly RenderedFile[],
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
