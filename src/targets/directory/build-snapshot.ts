/**
 * Steps 3 and 5 to 8 of a publish, in one job: repairs links, reads the current snapshot, applies the change
 * and builds the next snapshot. Readers see no change (I3).
 */
import { join } from 'node:path';
import { DropdockError, type PlainError, toPlainError } from '../../errors.js';
import type { Digest } from '../../image/digest.js';
import type { LeftOut, StagedContent } from '../../image/staged-content.js';
import type { ClockReading } from '../../repository/elapsed.js';
import { expiredUpTo, flipAges } from '../../repository/grace.js';
import type { TagMove } from '../../repository/merge.js';
import {
  type Change,
  checkOwner,
  type DropToMerge,
  leadsBack,
  type MergeOutcome,
  nextState,
  planNext,
  type RepositoryPolicy,
  type RestoredSnapshot,
  rollbackOrder,
} from '../../repository/next-state.js';
import { redirectFileName, renderRedirectFile } from '../../repository/render.js';
import { render } from '../../repository/rendering.js';
import type { SnapshotReason, StoredSnapshot } from '../../repository/snapshot-file.js';
import type { RepositoryState } from '../../repository/state.js';
import { isTimestamp, type Timestamp } from '../../repository/timestamp.js';
import type { Disk } from '../../storage/disk.js';
import { readFile } from '../../storage/durable.js';
import { job } from '../../storage/job.js';
import { begin } from '../../storage/transaction.js';
import { contentPath, snapshotPath, type TreeRoots } from '../../storage/tree-paths.js';
import { convertTags } from '../convert-tags.js';
import { readFullHistory, readHistory } from './flip-history.js';
import {
  listSnapshots,
  publishedContent,
  readPivot,
  readSnapshot,
  readThroughPivot,
} from './pivot.js';
import { findPublished, type PublishedBefore } from './published-before.js';
import { recoverRepository } from './recover.js';
import { recallRendering, recallSnapshot, rememberSnapshot } from './snapshot-cache.js';
import { writeTree } from './tree-writer.js';

/** A drop of a publish, as sent to the worker thread that builds the snapshot. */
export interface DropToBuild extends DropToMerge {
  /** See `StagedDrop`. */
  readonly path: string | undefined;
}

export interface BuildRequest {
  readonly roots: TreeRoots;
  readonly policy: RepositoryPolicy;
  readonly transaction: string;
  /** Id of the publishing process. */
  readonly owner: string;
  readonly nowMs: number;
  /** Decides how long content is kept for grace. */
  readonly clock: ClockReading;
  readonly change: Change<DropToBuild>;
}

/** Result of one drop before the flip. */
export type BuildOutcome =
  | MergeOutcome
  /** An earlier attempt already published it. */
  | { readonly before: PublishedBefore };

export interface BuildResult {
  readonly repaired: readonly string[];
  /** The snapshot that the pivot named. */
  readonly base: Timestamp | null;
  /** Same order as the drops. */
  readonly outcomes: readonly BuildOutcome[];
  readonly moves: readonly TagMove[];
  /** The snapshot that was restored (rollback). */
  readonly to: Timestamp | undefined;
  /** Null when clients would see no difference; no snapshot was made then. */
  readonly snapshot: Timestamp | null;
  readonly reason: SnapshotReason;
  readonly leftOut: readonly LeftOut[];
  /** Number of files in the large directories of the new snapshot; 0 when none was made. */
  readonly files: number;
  /** Duration of each step in milliseconds. */
  readonly steps: Readonly<Record<'mend' | 'build', number>>;
}

/**
 * Runs under the repository's lock. On failure only the work directory is left behind.
 * @throws repository.unknown, snapshot.unknown, tag.unknown, layout.unsafe, content.vanished, system errors
 */
export const buildSnapshot = job(
  'fast',
  import.meta.url,
  function buildSnapshot(disk: Disk, request: BuildRequest): BuildResult {
    const { roots, policy, owner, change } = request;
    const { id } = policy;
    const beganMs = performance.now();
    // The pivot is read before the repair, so that its snapshot is in the history before anything is built on
    // it: another host whose lock was taken over may flip between the two steps.
    const base = readPivot(disk, roots, id);
    const repaired = recoverRepository(disk, { roots, id, owner });
    begin(disk, request);
    const recoverMs = performance.now() - beganMs;
    const { toMerge, outcomes } = sortDrops(disk, request, base);
    const given = change.kind === 'publish' ? { ...change, drops: toMerge } : change;
    const built = buildNext(disk, { ...request, change: given }, base);
    const merged = [...built.outcomes];
    const all = outcomes.map((outcome) => outcome ?? (merged.shift() as MergeOutcome));
    const steps = { mend: recoverMs, build: performance.now() - beganMs - recoverMs };
    return { ...built, repaired, base, outcomes: all, steps };
  },
);

/** Separates the drops still to be merged from those whose outcome is already known. */
function sortDrops(
  disk: Disk,
  { roots, policy: { id }, change }: BuildRequest,
  base: Timestamp | null,
): { toMerge: DropToBuild[]; outcomes: (BuildOutcome | undefined)[] } {
  if (change.kind !== 'publish') return { toMerge: [], outcomes: [] };
  const origins = change.drops.map(({ origin }) => origin);
  const before = findPublished(disk, { roots, id, drops: origins });
  const served = publishedContent(disk, roots, id, base);
  const outcomes = change.drops.map((drop, at): BuildOutcome | undefined => {
    const published = before[at];
    if (published) return { before: published };
    const error = whatIsGone(disk, roots, served, drop);
    return error && { ok: false, error };
  });
  return { toMerge: change.drops.filter((_drop, at) => outcomes[at] === undefined), outcomes };
}

/**
 * Returns an error when the drop is gone, or content that a thin drop left out because the repository served
 * it. Checked again here, under the lock.
 */
function whatIsGone(
  disk: Disk,
  roots: TreeRoots,
  served: ReturnType<typeof publishedContent>,
  { path, content, origin }: DropToBuild,
): PlainError | undefined {
  if (path !== undefined && disk.statIfThere(path) === undefined) {
    const message = `The claimed drop '${origin.drop}' is gone.`;
    return toPlainError(new DropdockError('claim.lost', message, { path: origin.drop }));
  }
  const gone = expectedContent(content).find(
    (digest) =>
      disk.statIfThere(contentPath(roots, digest)) === undefined &&
      served.sizeOf(digest) === undefined &&
      served.readManifest(digest) === undefined,
  );
  if (gone === undefined) return undefined;
  const message = `The drop '${origin.drop}' leaves out ${gone}, which its repository no longer has.`;
  return toPlainError(new DropdockError('content.vanished', message, { digest: gone }));
}

/** Returns the digests that a thin drop expects in its repository (digests of the stored bytes). */
function expectedContent({ blobs, manifests }: StagedContent): Digest[] {
  return [
    ...manifests.map(({ digest, stored }) => stored ?? digest),
    ...blobs.flatMap(({ digest, source }) => (source === 'published' ? digest : [])),
  ];
}

type Built = Pick<BuildResult, 'moves' | 'to' | 'snapshot' | 'reason' | 'leftOut' | 'files'> & {
  readonly outcomes: readonly MergeOutcome[];
};

function buildNext(disk: Disk, request: BuildRequest, base: Timestamp | null): Built {
  const { roots, policy, change, transaction, nowMs } = request;
  const { id } = policy;
  const stored = base === null ? undefined : readOwn(disk, request, base);
  const restored = restoredBy(disk, request, stored);
  const to = restored?.snapshot;
  const { next, ...plan } = planNext({
    policy,
    change,
    stored,
    restored,
    nowMs,
    taken: listSnapshots(disk, roots, id),
    expiredMs: expiredFor(disk, request, stored?.state),
    convert: (merged, before) => convertTags(disk, request, merged, before),
    isRedirectRight: (options) => {
      const name = stored?.snapshot as Timestamp;
      const path = join(snapshotPath(roots, id, name), redirectFileName(id));
      const wanted = Buffer.from(renderRedirectFile(stored?.state as RepositoryState, options));
      const there = disk.statIfThere(path);
      return there?.size === wanted.length && readFile(disk, path, wanted.length).equals(wanted);
    },
  });
  if (next === undefined) return { ...plan, to, snapshot: null, files: 0 };
  const { state, options } = next;
  const snapshot = options.snapshot as Timestamp;
  const last = recallRendering(roots, stored);
  const rendering = render(last, state, options);
  const { freshTime } = options;
  const tree = { roots, id, transaction, snapshot, base, stored, last, rendering, freshTime };
  writeTree(disk, tree);
  const { reason, redirectOci } = options;
  const written = { snapshot, base, reason, freshTime, redirectOci, state };
  rememberSnapshot(disk, roots, id, written, rendering);
  return { ...plan, to, snapshot, files: rendering.files };
}

/** See `expiredUpTo`. The history is read only when the last snapshot keeps something for grace. */
function expiredFor(
  disk: Disk,
  { roots, policy: { id, graceMs }, clock }: BuildRequest,
  last: RepositoryState | undefined,
): number {
  if (graceMs <= 0) return Number.POSITIVE_INFINITY;
  if (last === undefined || last.carried.size === 0) return Number.NEGATIVE_INFINITY;
  const { flips, sightings } = readFullHistory(disk, roots, id);
  return expiredUpTo(flips, flipAges(flips, sightings, clock), graceMs);
}

/** @throws layout.unsafe when the id belongs to another repository: its content must not be reused (I8) */
function readOwn(
  disk: Disk,
  { roots, policy }: Pick<BuildRequest, 'roots' | 'policy'>,
  base: Timestamp,
): StoredSnapshot {
  const stored = recallSnapshot(disk, roots, policy.id, base);
  checkOwner(policy, stored.state);
  return stored;
}

/** @throws snapshot.unknown */
function restoredBy(
  disk: Disk,
  { roots, policy, change }: BuildRequest,
  stored: StoredSnapshot | undefined,
): RestoredSnapshot | undefined {
  if (change.kind !== 'rollback' || stored === undefined) return undefined;
  const kept = new Set(listSnapshots(disk, roots, policy.id).filter(isTimestamp));
  const { to } = change;
  if (to !== undefined) {
    if (kept.has(to))
      return { snapshot: to, state: readSnapshot(disk, roots, policy.id, to).state };
    throw new DropdockError(
      'snapshot.unknown',
      `'${policy.repository}' does not keep snapshot ${to}.`,
      { path: to },
    );
  }
  const flips = readHistory(disk, roots, policy.id).map(({ snapshot }) => snapshot);
  const { snapshot, base } = stored;
  for (const name of rollbackOrder(flips, snapshot as Timestamp, base as Timestamp | null)) {
    if (!kept.has(name)) continue;
    const { state } = readSnapshot(disk, roots, policy.id, name);
    if (leadsBack(stored.state, state)) return { snapshot: name, state };
  }
  throw new DropdockError(
    'snapshot.unknown',
    `'${policy.repository}' keeps no earlier snapshot with different content.`,
    { path: policy.id },
  );
}

export interface CheckRequest {
  readonly roots: TreeRoots;
  readonly policy: RepositoryPolicy;
  readonly drop: DropToMerge;
}

/**
 * Checks whether a drop would be accepted. Read-only.
 * @throws tag.immutable, manifest.ambiguous, layout.unsafe
 */
export const checkDrop = job(
  'fast',
  import.meta.url,
  function checkDrop(disk: Disk, { roots, policy, drop }: CheckRequest): PlainError | null {
    const read = (base: Timestamp) => readOwn(disk, { roots, policy }, base).state;
    const current = readThroughPivot(disk, roots, policy.id, read);
    const { outcomes } = nextState(current, { kind: 'publish', drops: [drop] }, policy);
    const [outcome] = outcomes;
    return outcome?.ok === false ? outcome.error : null;
  },
);
