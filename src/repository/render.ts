/**
 * Renders a state to the list of files of its snapshot. Pure: no disk, no clock. The same list can be written
 * to a directory or to an object store.
 */
import { createHash } from 'node:crypto';
import { type Digest, digestAlgorithm, digestFrom, digestHex } from '../image/digest.js';
import { manifestKind } from '../image/media-types.js';
import type { Tag } from '../image/names.js';
import {
  type ContentFile,
  type RedirectOci,
  renderContent,
  renderManifests,
} from './content-files.js';
import { type RedirectHeader, renderRedirect } from './redirect-file.js';
import { renderReferrers } from './referrers.js';
import { type SnapshotReason, serialiseSnapshot } from './snapshot-file.js';
import type { RepositoryState } from './state.js';

export interface RenderOptions {
  /** The timestamps of the snapshot and of its base. */
  readonly snapshot: string;
  readonly base: string | null;
  readonly reason: SnapshotReason;
  /** The modification time of fresh files, in seconds; grows with every snapshot. */
  readonly freshTime: number;
  readonly redirectOci: RedirectOci;
  readonly urlTemplate: string;
  readonly protected: boolean;
}

/** One file of a snapshot, by its relative path. */
export type RenderedFile = ContentFile | TextFile;

/** A generated text. */
export interface TextFile {
  readonly path: string;
  readonly text: string;
}

export const SNAPSHOT_FILE = '.snapshot.json';
export const TAGS_LIST = 'tags/list';
/** Marks the snapshot of a removed repository, which only serves running pulls. */
export const REMOVED_MARK = '.removed';

export function redirectFileName(id: string): string {
  return `${id}.json`;
}

export function renderSnapshot(state: RepositoryState, options: RenderOptions): RenderedFile[] {
  return [
    ...renderContent(state, options.redirectOci),
    ...renderReferrerFiles(state),
    ...renderTagsList(state, [...state.tags.keys()].sort()),
    { path: SNAPSHOT_FILE, text: serialiseSnapshot(state, options) },
    redirectFile(state, options, renderManifests(state, options.redirectOci)),
  ];
}

/** @param tags sorted */
export function renderTagsList(
  { repository, removed }: RepositoryState,
  tags: readonly string[],
): TextFile[] {
  const list = { path: TAGS_LIST, text: tagsListText(repository, tags) };
  return removed ? [list, { path: REMOVED_MARK, text: '' }] : [list];
}

/** Renders only the redirect file, to compare it with the published one. */
export function renderRedirectFile(state: RepositoryState, options: RenderOptions): string {
  return redirectFile(state, options, renderManifests(state, options.redirectOci)).text;
}

/**
 * Renders the referrers response of each subject, and for clients without that API the same text under its
 * fallback tag (distribution-spec v1.1, "Referrers Tag Schema"). A published tag of that name takes
 * precedence.
 */
export function renderReferrerFiles(state: RepositoryState): TextFile[] {
  return [...renderReferrers(state)].flatMap(([subject, text]) => {
    const names = referrersNames(state, subject, text);
    const indexes = names.map((name) => ({ path: `manifests/oci-index/${name}`, text }));
    return [{ path: `referrers/${subject}`, text }, ...indexes];
  });
}

/** Returns the names of a referrers response as a manifest. */
export function referrersNames(
  { tags, manifests }: RepositoryState,
  subject: Digest,
  text: string,
): (Tag | Digest)[] {
  const tag = `${digestAlgorithm(subject)}-${digestHex(subject).slice(0, 64)}` as Tag;
  if (tags.has(tag)) return [];
  // Also by digest: clients look up the tag with HEAD, then request the digest it returns.
  const digest = digestFrom('sha256', createHash('sha256').update(text).digest('hex'));
  return manifests.has(digest) ? [tag] : [tag, digest];
}

/** distribution-spec v1.1, "Listing Tags": in lexical order. */
export function tagsListText(repository: string, tags: readonly string[]): string {
  return `${JSON.stringify({ name: repository, tags })}\n`;
}

function redirectFile(
  state: RepositoryState,
  options: RenderOptions,
  manifests: readonly ContentFile[],
): TextFile {
  const namesUnder = (directory: string) =>
    manifests
      .filter(({ path }) => path.startsWith(directory))
      .map(({ path }) => path.slice(directory.length));
  const text = renderRedirect({
    ...redirectHeader(state, options),
    schema2: namesUnder('manifests/2/'),
    lists: namesUnder('manifests/list/'),
    amd64: amd64Tags(state),
  });
  return { path: redirectFileName(state.id), text };
}

export function redirectHeader(
  { repository, id }: RepositoryState,
  options: RenderOptions,
): RedirectHeader {
  const { snapshot, urlTemplate, protected: isProtected } = options;
  return { repository, id, snapshot, urlTemplate, protected: isProtected };
}

/** Returns for each tag of a manifest list the image that Crane sends to clients without list support. */
export function amd64Tags(state: RepositoryState): Map<string, Digest> {
  const amd64 = new Map<string, Digest>();
  for (const [tag, { digest }] of state.tags) {
    for (const list of [digest, state.conversions.get(digest)]) {
      const image = list ? amd64Image(state, list) : undefined;
      if (image) amd64.set(tag, image);
    }
  }
  return amd64;
}

function amd64Image(state: RepositoryState, list: Digest): Digest | undefined {
  const record = state.manifests.get(list);
  if (record === undefined || manifestKind(record.mediaType) !== 'list') return undefined;
  return record.children.find(
    ({ digest, platform }) => platform === 'linux/amd64' && state.manifests.has(digest),
  )?.digest;
}
