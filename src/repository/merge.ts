/** Merges drops into the state of a repository. Pure. */
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
  /** 'merge' adds and moves tags; 'replace' replaces the content of the repository with the drop. */
  readonly mode: 'merge' | 'replace';
  /** Returns true for tags that may be created but never moved. */
  readonly isImmutable: (tag: Tag) => boolean;
}

export interface TagMove {
  readonly tag: Tag;
  readonly from: Digest | null;
  readonly to: Digest | null;
}

/**
 * Applies one drop. Unreferenced manifests stay in `manifests`; `settle` decides whether to keep them.
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
        `The tag ${tag} is immutable and points to ${from}; the drop would ${
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

/** Returns the tags that were added, moved or removed, sorted by name. */
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

/** A shorter `tagMoves` for merges, which can only move the tags of the drop. */
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
 * A digest keeps its meaning as long as the repository serves it (also during the grace period): the known
 * record stays, and a drop can only add a layer that was left out. A signed schema 1 manifest with other
 * signatures has the same digest but other bytes: the first bytes stay.
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
    // If the bytes are ambiguous (OCI or Docker), the recorded type stays. If not, the record is wrong, not
    // this drop: it was written by a version that trusted the declared type.
    if (!isOpen) return fresh;
    throw ambiguous(
      staged.digest,
      `is recorded as ${known.mediaType}, but its descriptor says ${fresh.mediaType}`,
    );
  }
  const held = withBlobsOf(known, fresh);
  const isComplete = held === known && known.children.length === fresh.children.length;
  if (isComplete) return known;
  // Keeps the order of the manifest.
  const all = new Map(held.blobs.map(({ digest, size }) => [digest, size]));
  const { size, stored } = known;
  const { stored: _other, ...record } = toManifestRecord(staged, all);
  return { ...record, ...(stored && { stored }), size };
}

/** Cached: states are immutable, and each step of a publish needs their live manifests. */
const liveOf = new WeakMap<RepositoryState, ReadonlySet<Digest>>();

/**
 * Returns the manifests that are reachable from tags, untagged digests and conversions, without those only
 * kept for the grace period.
 */
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

/** Uses the names of snapshots only; see grace.ts for their age. */
export interface GracePeriod {
  /** The name (ms) of the new snapshot: content that it removes is kept for grace from then on. */
  readonly stampMs: number;
  /** Content kept since the snapshot of this name (ms) or an earlier one is past its grace period. */
  readonly expiredMs: number;
}

/**
 * Completes a merged state: removes artifacts whose subject was removed, keeps content of the previous
 * snapshots for the grace period, and drops the rest.
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

/**
 * Returns the same map if nothing is removed, which is the usual case: copying 20,000 entries takes
 * milliseconds.
 */
function onlyWhere<K, V>(map: ReadonlyMap<K, V>, stays: (key: K) => boolean): ReadonlyMap<K, V> {
  for (const key of map.keys()) {
    if (!stays(key)) return new Map([...map].filter(([each]) => stays(each)));
  }
  return map;
}

/**
 * A signature or SBOM published by digest is removed with its subject, and so is anything attached to it. It
 * stays if its subject has not been published yet.
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

/** Returns true if clients would see no difference, so that no new snapshot is needed. */
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

/** Returns true if the same content is kept for running pulls: then a cleaning has nothing to do. */
export function carriesTheSame(next: RepositoryState, base: RepositoryState): boolean {
  return sameKeys(next.carried, base.carried);
}

/**
 * Compares two records of one digest. A later drop of the same image may add a layer that was left out. Other
 * differences occur only if an older version recorded something else than the bytes say.
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
