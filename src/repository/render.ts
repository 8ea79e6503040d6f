/**
 * From a state to the files of its snapshot, as a plain list. Pure: no disk, no clock. Whoever
 * writes the list decides how; the same list can feed a directory or an object store.
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
export type RenderedFile = ContentFile | TextFile;

/** Text made here. */
export interface TextFile {
  readonly path: string;
  readonly text: string;
}

export const SNAPSHOT_FILE = '.snapshot.json';
export const TAGS_LIST = 'tags/list';
/** In a snapshot of a repository that was removed: it keeps only what pulls under way may ask for. */
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

/** The redirect file alone, for comparing what would be written with what is there. */
export function renderRedirectFile(state: RepositoryState, options: RenderOptions): string {
  return redirectFile(state, options, renderManifests(state, options.redirectOci)).text;
}

/**
 * The referrers response of each subject, and for clients without that API the same under the tag
 * they look for (distribution-spec v1.1, "Referrers Tag Schema"). One that was dropped wins.
 */
export function renderReferrerFiles(state: RepositoryState): TextFile[] {
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

/** For each tag of a manifest list what Crane gives to clients that know no lists. */
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
