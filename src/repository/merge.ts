/** From a snapshot and what was dropped to the next snapshot. Pure: values in, values out. */
import { DropdockError } from '../errors.js';
import { ambiguous } from '../image/ambiguity.js';
import type { Digest } from '../image/digest.js';
import { manifestFamily, manifestKind } from '../image/media-types.js';
import type { Tag } from '../image/names.js';
import type { StagedContent } from '../image/staged-content.js';
import {
  closure,
  type ManifestRecord,
  type Origin,
  type RepositoryState,
  toManifestRecord,
  withBlobsOf,
} from './state.js';

export interface MergePolicy {
  /** 'merge' adds and moves tags; 'replace' makes the repository exactly what the drop holds. */
  readonly mode: 'merge' | 'replace';
  /** Tags for which this answers true may be made, but never moved. */
  readonly isImmutable: (tag: Tag) => boolean;
}

export interface TagMove {
  readonly tag: Tag;
  readonly from: Digest | null;
  readonly to: Digest | null;
}

/**
 * Applies one drop. What no longer has a name is still in `manifests`; `settle` decides its fate.
 * @throws tag.immutable, manifest.ambiguous
 */
export function applyDrop(
  state: RepositoryState,
  content: StagedContent,
  origin: Origin,
  policy: MergePolicy,
): { state: RepositoryState; moves: TagMove[] } {
  const { removed: _again, ...there } = state;
  const start =
    policy.mode === 'replace' ? { ...there, tags: new Map(), untagged: new Map() } : there;
  const tags = new Map(start.tags);
  const isUntagged = content.roots.some((root) => root.tags.length === 0);
  const untagged = isUntagged ? new Map(start.untagged) : start.untagged;
  for (const root of content.roots) {
    for (const tag of root.tags) {
      if (tags.get(tag)?.digest !== root.digest)
        tags.set(tag, { digest: root.digest, from: origin });
    }
    if (root.tags.length > 0 || untagged.has(root.digest)) continue;
    (untagged as Map<Digest, Origin>).set(root.digest, origin);
  }
  const moves =
    policy.mode === 'replace' ? tagMoves(state.tags, tags) : movesOf(content, state.tags, tags);
  for (const { tag, from, to } of moves) {
    if (from !== null && policy.isImmutable(tag)) {
      throw new DropdockError(
        'tag.immutable',
        `The tag ${tag} is immutable and stands for ${from}; the drop would ${
          to === null ? 'remove it' : `move it to ${to}`
        }.`,
        { path: tag, digest: from },
      );
    }
  }
  return {
    state: { ...start, tags, untagged, manifests: addManifests(state.manifests, content) },
    moves,
  };
}

/** Tags that a change made, moved or removed, in the order of their names. */
export function tagMoves(
  before: RepositoryState['tags'],
  after: RepositoryState['tags'],
): TagMove[] {
  const moves: TagMove[] = [];
  for (const [tag, { digest }] of after) {
    const from = before.get(tag)?.digest ?? null;
    if (from !== digest) moves.push({ tag, from, to: digest });
  }
  for (const [tag, { digest }] of before) {
    if (!after.has(tag)) moves.push({ tag, from: digest, to: null });
  }
  return moves.sort((a, b) => (a.tag < b.tag ? -1 : 1));
}

/** Where nothing else can have moved than what was dropped. */
function movesOf(
  { roots }: StagedContent,
  before: RepositoryState['tags'],
  after: RepositoryState['tags'],
): TagMove[] {
  const only = (tags: RepositoryState['tags']) =>
    new Map(
      roots.flatMap((root) =>
        root.tags.flatMap((tag) => {
          const entry = tags.get(tag);
          return entry ? [[tag, entry] as const] : [];
        }),
      ),
    );
  return tagMoves(only(before), only(after));
}

/** @throws manifest.ambiguous */
function addManifests(
  known: ReadonlyMap<Digest, ManifestRecord>,
  { manifests, blobs }: StagedContent,
): Map<Digest, ManifestRecord> {
  const sizes = new Map(blobs.map(({ digest, size }) => [digest, size]));
  const all = new Map(known);
  for (const staged of manifests) {
    all.set(staged.digest, recordOf(all.get(staged.digest), staged, sizes));
  }
  return all;
}

/**
 * One digest, one meaning, as long as the repository serves it (also where it is only carried on): what
 * is known of it stays, and a drop can but add a layer that was left out. A signed schema 1 manifest that
 * comes with other signatures has the same digest and other bytes: those of the first stay.
 * @throws manifest.ambiguous
 */
function recordOf(
  known: ManifestRecord | undefined,
  staged: StagedContent['manifests'][number],
  sizes: ReadonlyMap<Digest, number>,
): ManifestRecord {
  const fresh = toManifestRecord(staged, sizes);
  if (known === undefined) return fresh;
  if (known.mediaType !== fresh.mediaType) {
    const [was, is] = [known, fresh].map(({ mediaType }) => manifestKind(mediaType));
    const isOpen = was && is && manifestFamily(was) === manifestFamily(is);
    // Where the bytes leave it open (OCI or Docker), the first word counts. Where they do not, it is not
    // this drop that is wrong: the record was written by a version that believed what announced it.
    if (!isOpen) return fresh;
    throw ambiguous(
      staged.digest,
      `is known as ${known.mediaType}, but is announced as ${fresh.mediaType}`,
    );
  }
  const held = withBlobsOf(known, fresh);
  const isComplete = held === known && known.children.length === fresh.children.length;
  if (isComplete) return known;
  // In the manifest's order.
  const all = new Map(held.blobs.map(({ digest, size }) => [digest, size]));
  const { size, stored } = known;
  const { stored: _other, ...record } = toManifestRecord(staged, all);
  return { ...record, ...(stored && { stored }), size };
}

/** States never change, and what is live in them is asked for at every step of a publish. */
const liveOf = new WeakMap<RepositoryState, ReadonlySet<Digest>>();

/** What tags, names by digest and their conversions lead to: the truth without what is carried. */
export function liveManifests(state: RepositoryState): ReadonlySet<Digest> {
  const known = liveOf.get(state) ?? findLive(state);
  liveOf.set(state, known);
  return known;
}

function findLive(state: RepositoryState): Set<Digest> {
  const { untagged, tags, conversions, manifests } = state;
  const live = closure(untagged.keys(), manifests);
  closure(
    Array.from(tags.values(), ({ digest }) => digest),
    manifests,
    live,
  );
  const docker: Digest[] = [];
  for (const [original, converted] of conversions) {
    if (converted !== null && live.has(original)) docker.push(converted);
  }
  return closure(docker, manifests, live);
}

/** By the names of snapshots: how long ago they became current is not told by them, see grace.ts. */
export interface GracePeriod {
  /** The name (ms) of the snapshot that is made: what it takes away is carried on since then. */
  readonly stampMs: number;
  /** What is carried on since the snapshot of this name (ms) or an earlier one is past its grace period. */
  readonly expiredMs: number;
}

/**
 * Brings a merged state into its final form: what is attached to something that left goes with it,
 * what the grace period's snapshots served is carried on, the rest is forgotten.
 */
export function settle(
  merged: RepositoryState,
  base: RepositoryState | undefined,
  { stampMs, expiredMs }: GracePeriod,
): RepositoryState {
  const baseLive = base ? liveManifests(base) : new Set<Digest>();
  const named = keepAttached(merged, baseLive);
  const live = liveManifests(named);
  const conversions = onlyWhere(merged.conversions, (original) => live.has(original));

  const carried = new Map<Digest, number>();
  for (const [digest, lastMs] of base?.carried ?? []) {
    if (!live.has(digest) && lastMs > expiredMs) carried.set(digest, lastMs);
  }
  for (const digest of baseLive) {
    if (!live.has(digest) && stampMs > expiredMs) carried.set(digest, stampMs);
  }
  const manifests = onlyWhere(
    merged.manifests,
    (digest) => live.has(digest) || carried.has(digest),
  );
  const settled = { ...named, conversions, carried, manifests };
  liveOf.set(settled, live);
  return settled;
}

/** The same map where all of it stays, as most of the time: a copy of 20,000 costs milliseconds. */
function onlyWhere<K, V>(map: ReadonlyMap<K, V>, stays: (key: K) => boolean): ReadonlyMap<K, V> {
  for (const key of map.keys()) {
    if (!stays(key)) return new Map([...map].filter(([each]) => stays(each)));
  }
  return map;
}

/**
 * A signature or SBOM published by digest leaves with its subject, and the one attached to that
 * with it. One whose subject has not come yet may wait.
 */
function keepAttached(merged: RepositoryState, baseLive: ReadonlySet<Digest>): RepositoryState {
  let state = merged;
  for (;;) {
    const live = liveManifests(state);
    const untagged = onlyWhere(state.untagged, (digest) => {
      const subject = merged.manifests.get(digest)?.subject;
      return subject === undefined || live.has(subject) || !baseLive.has(subject);
    });
    if (untagged === state.untagged) return state;
    state = { ...state, untagged };
  }
}

/** True when clients would see no difference, so that no new snapshot is needed. */
export function servesTheSame(next: RepositoryState, base: RepositoryState): boolean {
  if (next.removed !== base.removed) return false;
  if (next.tags.size !== base.tags.size) return false;
  if (tagMoves(base.tags, next.tags).length > 0) return false;
  if (!sameKeys(next.untagged, base.untagged)) return false;
  if (![...next.conversions].every(([from, to]) => base.conversions.get(from) === to)) return false;
  if (next.conversions.size !== base.conversions.size) return false;
  const [a, b] = [liveManifests(next), liveManifests(base)];
  if (a.size !== b.size || ![...a].every((digest) => b.has(digest))) return false;
  return [...a].every((digest) => isSame(next.manifests.get(digest), base.manifests.get(digest)));
}

/** The same content kept for pulls under way: a cleaning has nothing to do here. */
export function carriesTheSame(next: RepositoryState, base: RepositoryState): boolean {
  return sameKeys(next.carried, base.carried);
}

/**
 * Of one digest. A layer that was left out may come with a later drop of the same image; the rest differs
 * only where an older version wrote down what the bytes do not say.
 */
function isSame(a: ManifestRecord | undefined, b: ManifestRecord | undefined): boolean {
  if (a === b || a === undefined || b === undefined) return a === b;
  return (
    a.blobs.length === b.blobs.length &&
    a.children.length === b.children.length &&
    a.mediaType === b.mediaType
  );
}

function sameKeys<K>(a: ReadonlyMap<K, unknown>, b: ReadonlyMap<K, unknown>): boolean {
  return a.size === b.size && [...a.keys()].every((key) => b.has(key));
}
