/**
 * What is shown of a snapshot to people: one row for each tag, found again without reading the
 * others. A repository may have 50,000 tags, so the rows stay one text until some of them are shown.
 * Pure.
 */
import type { Digest } from '../image/digest.js';
import type { StoredSnapshot } from './snapshot-file.js';
import { closure, type RepositoryState } from './state.js';

export interface SnapshotFacts {
  readonly repository: string;
  readonly snapshot: string;
  /** Only what pulls under way may ask for is left. */
  readonly removed: boolean;
  readonly tags: number;
  /** Bytes of all content it serves, each digest counted once. */
  readonly bytes: number;
}

export interface TagRow {
  readonly tag: string;
  readonly digest: string;
  readonly mediaType: string;
  /** Bytes of everything the tag leads to, as far as it is there, each digest counted once. */
  readonly bytes: number;
  /** The platforms its index names; empty for an image, whose config tells. */
  readonly platforms: readonly string[];
  /** For an image, what its manifest names first: the config. */
  readonly config: string | null;
  /** The drop it came from, and when that was claimed. */
  readonly drop: string;
  readonly at: string;
}

export interface SnapshotSummary {
  readonly facts: SnapshotFacts;
  /** A line for each tag: the tag, a tab (which no tag holds), the row in JSON. */
  readonly text: string;
  /** Where the lines begin, by tag. */
  readonly byTag: Uint32Array;
  /** The same, what was published last first. */
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
  // Sorting is stable: tags of one drop stay in the order of their names.
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
  /** Only tags that hold this text. */
  readonly filter: string;
  /** Counted from 1; the last one where there are not so many. */
  readonly page: number;
  readonly perPage: number;
}

export interface RowsFound {
  readonly rows: TagRow[];
  /** How many there are with those of other pages. */
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

/** Which page is shown of how many, and how much comes before it. */
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
    // Attestations have none that says anything.
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
