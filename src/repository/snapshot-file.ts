/** `.snapshot.json`: the state of a repository as text, sorted, so that it can be compared and stored. */
import { DropdockError } from '../errors.js';
import type { Digest } from '../image/digest.js';
import type { RepositoryId, RepositoryName, Tag } from '../image/names.js';
import type { RedirectOci } from './content-files.js';
import type { ManifestRecord, Origin, RepositoryState } from './state.js';
import type { Timestamp } from './timestamp.js';

export const VERSION = 1;

/** Why a snapshot was made. After a crash, it shows which drops were already published. */
export interface SnapshotReason {
  readonly why: 'publish' | 'rollback' | 'untag' | 'remove' | 'clean';
  /** The restored snapshot, or the removed tags. */
  readonly detail?: string;
  readonly drops: readonly Origin[];
}

/** The fields of a snapshot besides its state. */
export interface SnapshotHeader {
  readonly snapshot: string;
  readonly base: string | null;
  readonly reason: SnapshotReason;
  readonly freshTime: number;
  readonly redirectOci: RedirectOci;
}

export interface StoredSnapshot extends SnapshotHeader {
  readonly state: RepositoryState;
}

/** A snapshot as its `.snapshot.json`, which lists all its content. */
export interface SnapshotText {
  readonly snapshot: Timestamp;
  readonly text: Uint8Array;
}

interface Document {
  readonly version: number;
  readonly repository: string;
  readonly id: string;
  readonly snapshot: string;
  readonly base: string | null;
  readonly reason: SnapshotReason;
  readonly freshTime: number;
  readonly redirectOci: RedirectOci;
  readonly tags: Record<string, { digest: string; mediaType: string; size: number; from: Origin }>;
  readonly untagged: Record<string, Origin>;
  readonly manifests: Record<string, Omit<ManifestRecord, 'blobs'> & { blobs: string[] }>;
  readonly removed?: true;
  /** Sizes in bytes. */
  readonly blobs: Record<string, number>;
  readonly carried: Record<string, number>;
  readonly conversions: Record<string, string | null>;
}

/** Writes one sorted line for each tag and manifest, so that `diff` shows what a publish changed. */
export function serialiseSnapshot(state: RepositoryState, header: SnapshotHeader): string {
  const blobs = new Map<Digest, number>();
  for (const record of state.manifests.values()) {
    for (const { digest, size } of record.blobs) blobs.set(digest, size);
  }
  const text = tableTexts(state, blobs);
  const fields = [
    ...snapshotScalars(state, header),
    ['tags', table(state.tags, text.tags)],
    ['untagged', table(state.untagged, text.untagged)],
    ['manifests', table(state.manifests, text.manifests)],
    ['blobs', table(blobs, text.blobs)],
    ['carried', table(state.carried, text.carried)],
    ['conversions', table(state.conversions, text.conversions)],
  ];
  return `{\n${fields.map(([key, value]) => ` "${key}": ${value}`).join(',\n')}\n}\n`;
}

/** In the order of the file. */
export const TABLES = ['tags', 'untagged', 'manifests', 'blobs', 'carried', 'conversions'] as const;
export type Table = (typeof TABLES)[number];

/** Returns the fields before the tables. */
export function snapshotScalars(
  { repository, id, removed }: RepositoryState,
  { snapshot, base, reason, freshTime, redirectOci }: SnapshotHeader,
): [string, string][] {
  const values = { version: VERSION, repository, id, snapshot, base, reason, freshTime };
  return Object.entries({ ...values, redirectOci, ...(removed && { removed }) }).map(
    ([key, value]) => [key, JSON.stringify(value)],
  );
}

/** Returns for each table a function from key to text; it returns undefined if the state lacks the key. */
export function tableTexts(state: RepositoryState, blobs: ReadonlyMap<Digest, number | null>) {
  const { tags, untagged, manifests, carried, conversions } = state;
  return {
    tags: (tag: Tag) => {
      const entry = tags.get(tag);
      return entry && tagText(entry, manifests.get(entry.digest));
    },
    untagged: (digest: Digest) => JSON.stringify(untagged.get(digest)) as string | undefined,
    manifests: (digest: Digest) => {
      const record = manifests.get(digest);
      return record && recordText(record);
    },
    blobs: (digest: Digest) => blobs.get(digest)?.toString(),
    carried: (digest: Digest) => carried.get(digest)?.toString(),
    conversions: (digest: Digest) => JSON.stringify(conversions.get(digest)) as string | undefined,
  };
}

/**
 * Built line by line: an object would reorder keys that look like numbers, and `__proto__` is a valid tag.
 */
function table<K extends string>(
  map: ReadonlyMap<K, unknown>,
  toText: (key: K) => string | undefined,
): string {
  const lines = [...map.keys()].sort().map((key) => snapshotLine(key, toText(key) ?? ''));
  return lines.length === 0 ? '{}' : `{\n${lines.join(',\n')}\n }`;
}

/** Tags and digests contain no character that JSON escapes. */
export const snapshotLine = (key: string, text: string) => `  "${key}": ${text}`;

type TagEntry = RepositoryState['tags'] extends ReadonlyMap<Tag, infer Entry> ? Entry : never;

/** Cached: states share unchanged entries, so most of 50,000 tags are serialised only once. */
const tagTexts = new WeakMap<
  TagEntry,
  { readonly of: ManifestRecord | undefined; readonly text: string }
>();
const recordTexts = new WeakMap<ManifestRecord, string>();

function tagText(entry: TagEntry, record: ManifestRecord | undefined): string {
  const known = tagTexts.get(entry);
  if (known && known.of === record) return known.text;
  const { mediaType = '', size = 0 } = record ?? {};
  const text = JSON.stringify({ digest: entry.digest, mediaType, size, from: entry.from });
  tagTexts.set(entry, { of: record, text });
  return text;
}

function recordText(record: ManifestRecord): string {
  const known = recordTexts.get(record);
  if (known !== undefined) return known;
  const text = JSON.stringify({ ...record, blobs: record.blobs.map(({ digest }) => digest) });
  recordTexts.set(record, text);
  return text;
}

/**
 * Parses the output of `serialiseSnapshot`. dropdock wrote and synced the file before it became visible, so
 * only its version is checked here; `dropdock verify` checks the rest.
 * @throws layout.unsafe
 */
export function parseSnapshot(bytes: Buffer, where: string): StoredSnapshot {
  let document: Document;
  try {
    document = JSON.parse(bytes.toString('utf8')) as Document;
  } catch (cause) {
    throw new DropdockError('layout.unsafe', `${where} is damaged.`, { path: where }, cause);
  }
  if (document.version !== VERSION) {
    throw new DropdockError(
      'layout.unsafe',
      `${where} was written by another version of dropdock.`,
      { path: where },
    );
  }
  const blobs = (digests: readonly string[]) =>
    digests.map((digest) => ({ digest: digest as Digest, size: document.blobs[digest] ?? 0 }));
  const entries = <V>(record: Record<string, V>) => Object.entries(record);
  return {
    snapshot: document.snapshot,
    base: document.base,
    reason: document.reason,
    freshTime: document.freshTime,
    redirectOci: document.redirectOci,
    state: {
      repository: document.repository as RepositoryName,
      id: document.id as RepositoryId,
      tags: new Map(
        entries(document.tags).map(([tag, { digest, from }]) => [
          tag as Tag,
          { digest: digest as Digest, from },
        ]),
      ),
      untagged: new Map(entries(document.untagged) as [Digest, Origin][]),
      manifests: new Map(
        entries(document.manifests).map(([digest, record]) => [
          digest as Digest,
          { ...record, blobs: blobs(record.blobs) },
        ]),
      ),
      ...(document.removed && { removed: true }),
      carried: new Map(entries(document.carried) as [Digest, number][]),
      conversions: new Map(entries(document.conversions) as [Digest, Digest | null][]),
    },
  };
}

/** The result of `parseSnapshotTags`. */
export interface SnapshotTags {
  readonly base: string | null;
  readonly reason: SnapshotReason;
  readonly tags: ReadonlyMap<string, { readonly digest: string; readonly from: Origin }>;
}

/**
 * Parses only the tags, a small part of a large file. Top-level lines are indented by exactly one space, and
 * JSON strings contain no raw line break, so no other text can look like a top-level line.
 * @throws layout.unsafe
 */
export function parseSnapshotTags(bytes: Buffer, where: string): SnapshotTags {
  const { base, reason } = parseHeader(bytes, where);
  const start = bytes.indexOf(TAGS);
  const end = bytes.indexOf(',\n "untagged": ', start);
  try {
    if (end < 0) throw new Error('the table "tags" is not terminated');
    const tags = JSON.parse(`{${bytes.toString('utf8', start, end)}}`).tags as Document['tags'];
    return { base, reason, tags: new Map(Object.entries(tags)) };
  } catch (cause) {
    throw new DropdockError('layout.unsafe', `${where} is damaged.`, { path: where }, cause);
  }
}

const TAGS = '\n "tags": ';

/**
 * Parses the fields before the tags in the same way. Between a flip and the removal of 15 snapshots of 10,000
 * tags, parsing took 5.4 s for complete files, and takes 0.4 s this way.
 * @throws layout.unsafe
 */
export function parseHeader(bytes: Buffer, where: string): Pick<SnapshotHeader, 'base' | 'reason'> {
  const end = bytes.indexOf(TAGS);
  try {
    if (end < 0) throw new Error('the table "tags" is missing');
    const head = bytes.toString('utf8', 0, end).replace(/,$/, '');
    const { base, reason, version } = JSON.parse(`${head}\n}`) as Document;
    if (version !== VERSION) throw new Error(`unsupported version ${version}`);
    return { base, reason };
  } catch (cause) {
    throw new DropdockError('layout.unsafe', `${where} is damaged.`, { path: where }, cause);
  }
}

/**
 * Returns when each manifest that is only kept for grace was last live (ms), by digest. Parses only that
 * part, as `parseSnapshotTags` does.
 * @throws layout.unsafe
 */
export function parseCarried(bytes: Buffer, where: string): ReadonlyMap<string, number> {
  const start = bytes.indexOf('\n "carried": ');
  const end = bytes.indexOf(',\n "conversions": ', start);
  try {
    if (start < 0 || end < 0) throw new Error('the table "carried" is missing or not terminated');
    const { carried } = JSON.parse(`{${bytes.toString('utf8', start, end)}}`) as Document;
    return new Map(Object.entries(carried));
  } catch (cause) {
    throw new DropdockError('layout.unsafe', `${where} is damaged.`, { path: where }, cause);
  }
}
