/** What people are shown of the published tree. Reads only, on a thread of its own: see threads/jobs. */
import { join } from 'node:path';
import type { Disk } from '../disk/disk.js';
import { readFile } from '../disk/durable.js';
import type { RepositoryId } from '../image/names.js';
import { diffTags, type TagChange } from '../snapshot/diff.js';
import { SNAPSHOT_FILE } from '../snapshot/render.js';
import {
  parseSnapshotTags,
  type SnapshotReason,
  type SnapshotTags,
} from '../snapshot/snapshot-file.js';
import {
  factsOf,
  type SnapshotFacts,
  type SnapshotSummary,
  summarise,
} from '../snapshot/summary.js';
import { isTimestamp, type Timestamp } from '../snapshot/timestamp.js';
import { ifThere, readSnapshot } from './current.js';
import { snapshotPath, type TreeRoots } from './paths.js';

export interface BrowseRequest {
  readonly roots: TreeRoots;
  readonly id: RepositoryId;
  readonly snapshot: Timestamp;
}

/** What one snapshot changed. */
export interface SnapshotChanges {
  readonly snapshot: Timestamp;
  /** Null for the first. */
  readonly base: Timestamp | null;
  /** Undefined where the one before is gone: then nobody knows. */
  readonly changes: Readonly<Record<'added' | 'moved' | 'removed', ListedChanges>> | undefined;
  readonly why: SnapshotReason['why'];
  readonly detail: string | undefined;
  /** At most so many as are shown. */
  readonly drops: readonly string[];
}

export interface ListedChanges {
  /** Of all of them, the first. */
  readonly listed: readonly TagChange[];
  readonly count: number;
}

/** Of each kind; a drop may move 50,000 tags at once. */
const LISTED_CHANGES_MAX = 50;
const LISTED_DROPS_MAX = 5;

/** Undefined for a snapshot that is gone. */
function snapshotFacts(
  disk: Disk,
  { roots, id, snapshot }: BrowseRequest,
): SnapshotFacts | undefined {
  return ifThere(() => factsOf(readSnapshot(disk, roots, id, snapshot)));
}

function snapshotSummary(
  disk: Disk,
  { roots, id, snapshot }: BrowseRequest,
): SnapshotSummary | undefined {
  return ifThere(() => summarise(readSnapshot(disk, roots, id, snapshot)));
}

/** From this snapshot back through those it was built on, as far as they are kept. Newest first. */
function snapshotChanges(
  disk: Disk,
  { roots, id, snapshot, count }: BrowseRequest & { readonly count: number },
): SnapshotChanges[] {
  const found: SnapshotChanges[] = [];
  let name: Timestamp | null = snapshot;
  let tags = readTags(disk, { roots, id, snapshot });
  while (name !== null && tags !== undefined && found.length < count) {
    const base: Timestamp | null = toBase(tags.base);
    const before = base === null ? undefined : readTags(disk, { roots, id, snapshot: base });
    found.push(describeChanges(name, tags, before));
    [name, tags] = [base, before];
  }
  return found;
}

/** @param before what it was built on, which may be gone */
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

/** Before the first snapshot. */
const NONE: SnapshotTags['tags'] = new Map();

function toBase(text: string | null): Timestamp | null {
  return text !== null && isTimestamp(text) ? text : null;
}

function readTags(disk: Disk, { roots, id, snapshot }: BrowseRequest): SnapshotTags | undefined {
  const path = join(snapshotPath(roots, id, snapshot), SNAPSHOT_FILE);
  return ifThere(() => parseSnapshotTags(readFile(disk, path, Number.MAX_SAFE_INTEGER), path));
}

function changesBetween(
  before: SnapshotTags['tags'],
  after: SnapshotTags['tags'],
): NonNullable<SnapshotChanges['changes']> {
  const { added, moved, removed } = diffTags(digestsOf(before), digestsOf(after));
  const cut = (all: readonly TagChange[]) => ({
    listed: all.slice(0, LISTED_CHANGES_MAX),
    count: all.length,
  });
  return { added: cut(added), moved: cut(moved), removed: cut(removed) };
}

function digestsOf(tags: SnapshotTags['tags']): Map<string, string> {
  return new Map([...tags].map(([tag, { digest }]) => [tag, digest]));
}

export const browseJobs = { snapshotFacts, snapshotSummary, snapshotChanges } as const;

export type BrowseJobs = typeof browseJobs;
