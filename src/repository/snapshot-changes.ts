/** Describes the changes of one snapshot for users. Pure. */
import { sortByTag } from '../image/tag-order.js';
import type { SnapshotReason, SnapshotTags } from './snapshot-file.js';
import { diffTags, type TagChange } from './tag-diff.js';
import { isTimestamp, type Timestamp } from './timestamp.js';

export interface SnapshotChanges {
  readonly snapshot: Timestamp;
  /** Null for the first snapshot. */
  readonly base: Timestamp | null;
  /** Undefined if the base snapshot was deleted. */
  readonly changes: Readonly<Record<'added' | 'moved' | 'removed', ListedChanges>> | undefined;
  readonly why: SnapshotReason['why'];
  readonly detail: string | undefined;
  /** At most LISTED_DROPS_MAX. */
  readonly drops: readonly string[];
}

export interface ListedChanges {
  /** The first LISTED_CHANGES_MAX of them, in the order of versions. */
  readonly listed: readonly TagChange[];
  readonly count: number;
}

/** For each kind; a drop may move 50,000 tags at once. */
const LISTED_CHANGES_MAX = 50;
const LISTED_DROPS_MAX = 5;

/** @param before the base snapshot; undefined if it was deleted */
export function describeChanges(
  snapshot: Timestamp,
  tags: SnapshotTags,
  before: SnapshotTags | undefined,
): SnapshotChanges {
  const base = toBase(tags.base);
  const { why, detail, drops } = tags.reason;
  return {
    snapshot,
    base,
    changes: base === null || before ? changesBetween(before?.tags ?? NONE, tags.tags) : undefined,
    why,
    detail,
    drops: drops.slice(0, LISTED_DROPS_MAX).map(({ drop }) => drop),
  };
}

/** The base of the first snapshot. */
const NONE: SnapshotTags['tags'] = new Map();

export function toBase(text: string | null): Timestamp | null {
  return text !== null && isTimestamp(text) ? text : null;
}

function changesBetween(
  before: SnapshotTags['tags'],
  after: SnapshotTags['tags'],
): NonNullable<SnapshotChanges['changes']> {
  const { added, moved, removed } = diffTags(digestsOf(before), digestsOf(after));
  const cut = (all: readonly TagChange[]) => ({
    listed: sortByTag(all, ({ tag }) => tag).slice(0, LISTED_CHANGES_MAX),
    count: all.length,
  });
  return { added: cut(added), moved: cut(moved), removed: cut(removed) };
}

function digestsOf(tags: SnapshotTags['tags']): Map<string, string> {
  return new Map([...tags].map(([tag, { digest }]) => [tag, digest]));
}
