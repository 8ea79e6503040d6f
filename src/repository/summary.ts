/**
 * Summary of a snapshot for users: one row for each tag, found without parsing the others. A repository may
 * have 50,000 tags, so the rows stay one text until they are shown. Pure.
 */
import type { Digest } from '../image/digest.js';
import type { StoredSnapshot } from './snapshot-file.js';
import { closure, type RepositoryState } from './state.js';

export interface SnapshotFacts {
  readonly repository: string;
  readonly snapshot: string;
  /** The repository was removed; its content is only kept for running pulls. */
  readonly removed: boolean;
  readonly tags: number;
  /** Bytes of all served content, each digest counted once. */
  readonly bytes: number;
}

export interface TagRow {
  readonly tag: string;
  readonly digest: string;
  readonly mediaType: string;
  /** Bytes of the available content of the tag, each digest counted once. */
  readonly bytes: number;
  /** The platforms of an index; empty for an image, whose config names its platform. */
  readonly platforms: readonly string[];
  /** The config of an image; null for an index. */
  readonly config: string | null;
  /** The drop that it came from, and when the drop was claimed. */
  readonly drop: string;
  readonly at: string;
}

export interface SnapshotSummary {
  readonly facts: SnapshotFacts;
  /** One line for each tag: the tag, a tab (which no tag contains), the row as JSON. */
  readonly text: string;
  /** The offsets of the lines, sorted by tag. */
  readonly byTag: Uint32Array;
  /** The same offsets, most recently published first. */
  readonly byAge: Uint32Array;
}

export function factsOf({ state, snapshot }: StoredSnapshot): SnapshotFacts {
  return {
    repository: state.repository,
    snapshot,
    removed: state.removed === true,
    tags: state.tags.size,
    bytes: bytesOf(state.manifests.keys(), state),
  };
}

export function summarise(stored: StoredSnapshot): SnapshotSummary {
  const { state } = stored;
  const sorted = [...state.tags].sort(([a], [b]) => (a < b ? -1 : 1));
  const lines: string[] = [];
  const starts: { start: number; at: string }[] = [];
  let start = 0;
  for (const [tag, { digest, from }] of sorted) {
    const line = `${tag}\t${JSON.stringify(rowOf(state, tag, digest, from))}\n`;
    starts.push({ start, at: from.at });
    lines.push(line);
    start += line.length;
  }
  // The sort is stable: tags of one drop stay sorted by name.
  const newest = [...starts].sort((a, b) => (a.at === b.at ? 0 : a.at > b.at ? -1 : 1));
  return {
    facts: factsOf(stored),
    text: lines.join(''),
    byTag: Uint32Array.from(starts, (each) => each.start),
    byAge: Uint32Array.from(newest, (each) => each.start),
  };
}

export interface RowsWanted {
  readonly order: 'tag' | 'age';
  /** Only tags that contain this text. */
  readonly filter: string;
  /** Starts at 1; the last page if the number is too high. */
  readonly page: number;
  readonly perPage: number;
}

export interface RowsFound {
  readonly rows: TagRow[];
  /** The number of matching rows on all pages. */
  readonly matching: number;
  readonly page: number;
  readonly pages: number;
}

export function findRows(
  { text, byTag, byAge }: SnapshotSummary,
  { order, filter, page: asked, perPage }: RowsWanted,
): RowsFound {
  const starts = order === 'tag' ? byTag : byAge;
  const found =
    filter === '' ? starts : starts.filter((start) => tagAt(text, start).includes(filter));
  const { page, pages, skip } = findPage(found.length, asked, perPage);
  const rows = [...found.subarray(skip, skip + perPage)].map((start) => {
    const end = text.indexOf('\n', start);
    return JSON.parse(text.slice(text.indexOf('\t', start) + 1, end)) as TagRow;
  });
  return { rows, matching: found.length, page, pages };
}

/** Returns the page to show, the number of pages, and the number of items to skip. */
export function findPage(
  count: number,
  asked: number,
  perPage: number,
): { page: number; pages: number; skip: number } {
  const pages = Math.max(1, Math.ceil(count / perPage));
  const page = Math.min(asked, pages);
  return { page, pages, skip: (page - 1) * perPage };
}

function tagAt(text: string, start: number): string {
  return text.slice(start, text.indexOf('\t', start));
}

function rowOf(
  state: RepositoryState,
  tag: string,
  digest: Digest,
  from: { readonly drop: string; readonly at: string },
): TagRow {
  const record = state.manifests.get(digest);
  const { mediaType = '', children = [], blobs = [] } = record ?? {};
  const platforms = children.flatMap((child) => child.platform ?? []);
  return {
    tag,
    digest,
    mediaType,
    bytes: bytesOf(closure([digest], state.manifests), state),
    // Attestations have the platform "unknown".
    platforms: [...new Set(platforms)].filter((name) => !name.startsWith('unknown')),
    config: children.length === 0 ? (blobs[0]?.digest ?? null) : null,
    drop: from.drop,
    at: from.at,
  };
}

function bytesOf(digests: Iterable<Digest>, { manifests }: RepositoryState): number {
  const sizes = new Map<string, number>();
  for (const digest of digests) {
    const record = manifests.get(digest);
    if (record === undefined) continue;
    sizes.set(digest, record.size);
    for (const blob of record.blobs) sizes.set(blob.digest, blob.size);
  }
  let sum = 0;
  for (const size of sizes.values()) sum += size;
  return sum;
}
