/**
 * Summary of a snapshot for users: one row for each tag, found without parsing the others. A repository may
 * have 50,000 tags, so the rows stay one text until they are shown. Pure.
 */
import type { Digest } from '../image/digest.js';
import { sortByTag } from '../image/tag-order.js';
import { type Attached, type AttachedContent, attachedContent, attachingTags } from './attached.js';
import type { StoredSnapshot } from './snapshot-file.js';
import { closure, type RepositoryState } from './state.js';

export interface SnapshotFacts {
  readonly repository: string;
  readonly snapshot: string;
  /** The repository was removed; its content is only kept for running pulls. */
  readonly removed: boolean;
  /** Without tags that only attach a signature or the like to an image. */
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
  /** The images of an index that the repository holds, at most CHILDREN_MAX. */
  readonly children: readonly ChildRow[];
  /** What is attached to it or to its images, at most ATTACHED_MAX of it, and how much that is. */
  readonly attached: readonly Attached[];
  readonly attachedCount: number;
  /** The config of an image; null for an index. */
  readonly config: string | null;
  /** The drop that it came from, and when the drop was claimed. */
  readonly drop: string;
  readonly at: string;
}

/** One image of an index. */
export interface ChildRow {
  readonly digest: string;
  readonly platform?: string;
  /** Bytes of its content. */
  readonly bytes: number;
}

/** Rows are kept in memory; longer lists are cut. */
const CHILDREN_MAX = 50;
const ATTACHED_MAX = 20;

export interface SnapshotSummary {
  readonly facts: SnapshotFacts;
  /** One line for each tag: the tag, a tab (which no tag contains), the row as JSON. */
  readonly text: string;
  /** The offsets of the lines, in the order of versions. */
  readonly byTag: Uint32Array;
  /** The same offsets, largest first. */
  readonly bySize: Uint32Array;
  /** The same offsets, most recently published first. */
  readonly byAge: Uint32Array;
}

export function factsOf({ state, snapshot }: StoredSnapshot): SnapshotFacts {
  return {
    repository: state.repository,
    snapshot,
    removed: state.removed === true,
    tags: state.tags.size - attachingTags(state).size,
    bytes: bytesOf(state.manifests.keys(), state),
  };
}

export function summarise(stored: StoredSnapshot): SnapshotSummary {
  const { state } = stored;
  const attached = attachedContent(state);
  const shown = [...state.tags].filter(([tag]) => !attached.tags.has(tag));
  const lines: string[] = [];
  const starts: { start: number; at: string; bytes: number }[] = [];
  let start = 0;
  for (const [tag, { digest, from }] of sortByTag(shown, ([tag]) => tag)) {
    const row = rowOf(state, { tag, digest, from }, attached);
    const line = `${tag}\t${JSON.stringify(row)}\n`;
    starts.push({ start, at: from.at, bytes: row.bytes });
    lines.push(line);
    start += line.length;
  }
  // The sorts are stable: tags of one drop stay sorted by version.
  const newest = [...starts].sort((a, b) => (a.at === b.at ? 0 : a.at > b.at ? -1 : 1));
  const largest = [...starts].sort((a, b) => b.bytes - a.bytes);
  return {
    facts: factsOf(stored),
    text: lines.join(''),
    byTag: Uint32Array.from(starts, (each) => each.start),
    bySize: Uint32Array.from(largest, (each) => each.start),
    byAge: Uint32Array.from(newest, (each) => each.start),
  };
}

export type RowOrder = 'tag' | 'size' | 'age';

export interface RowsWanted {
  readonly order: RowOrder;
  /** Only tags that contain this text, or a digest that begins with it. */
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
  summary: SnapshotSummary,
  { order, filter, page: asked, perPage }: RowsWanted,
): RowsFound {
  const { text, byTag, byAge, bySize } = summary;
  const starts = { tag: byTag, age: byAge, size: bySize }[order];
  const found = filter === '' ? starts : starts.filter(matcher(text, filter));
  const { page, pages, skip } = findPage(found.length, asked, perPage);
  const rows = [...found.subarray(skip, skip + perPage)].map((start) => rowAt(text, start));
  return { rows, matching: found.length, page, pages };
}

/** Returns the row of a tag; undefined if there is none. */
export function findRow({ text }: SnapshotSummary, tag: string): TagRow | undefined {
  if (text.startsWith(`${tag}\t`)) return rowAt(text, 0);
  // A row is JSON, so it contains neither a line break nor a tab.
  const before = text.indexOf(`\n${tag}\t`);
  return before < 0 ? undefined : rowAt(text, before + 1);
}

/** The beginning of a digest, long enough to be no word. */
const DIGEST_START = /^(?:sha(?:256|512):)?[0-9a-f]{6,128}$/;

/** Returns whether the line that starts there has this text in its tag, or a digest that begins with it. */
function matcher(text: string, filter: string): (start: number) => boolean {
  const inTag = (start: number) => tagAt(text, start).includes(filter);
  if (!DIGEST_START.test(filter)) return inTag;
  const digests = filter.includes(':') ? [filter] : [`sha256:${filter}`, `sha512:${filter}`];
  return (start) => {
    if (inTag(start)) return true;
    const line = text.slice(start, text.indexOf('\n', start));
    return digests.some((digest) => line.includes(digest));
  };
}

function rowAt(text: string, start: number): TagRow {
  const end = text.indexOf('\n', start);
  return JSON.parse(text.slice(text.indexOf('\t', start) + 1, end)) as TagRow;
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
  {
    tag,
    digest,
    from,
  }: {
    readonly tag: string;
    readonly digest: Digest;
    readonly from: { readonly drop: string; readonly at: string };
  },
  { bySubject }: AttachedContent,
): TagRow {
  const record = state.manifests.get(digest);
  const { mediaType = '', children = [], blobs = [] } = record ?? {};
  const platforms = children.flatMap((child) => child.platform ?? []);
  const held = children.filter((child) => state.manifests.has(child.digest));
  const subjects = [digest, ...held.map((child) => child.digest)];
  const attached = subjects.flatMap((subject) => bySubject.get(subject) ?? []);
  return {
    tag,
    digest,
    mediaType,
    bytes: bytesOf(closure([digest], state.manifests), state),
    // Attestations have the platform "unknown".
    platforms: [...new Set(platforms)].filter((name) => !name.startsWith('unknown')),
    children: held.slice(0, CHILDREN_MAX).map((child) => ({
      ...child,
      bytes: bytesOf(closure([child.digest], state.manifests), state),
    })),
    attached: attached.slice(0, ATTACHED_MAX),
    attachedCount: attached.length,
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
