/**
 * Steps 5 to 8 of a publish, once it is known what the repository is to become: convert, carry on,
 * render, build. Nothing a reader can see changes here (I3).
 */
import { join } from 'node:path';
import type { Disk } from '../disk/disk.js';
import { readFile } from '../disk/durable.js';
import { ingestAllBytes } from '../disk/into-store.js';
import { DropdockError } from '../errors.js';
import type { Digest } from '../image/digest.js';
import type { RepositoryId, RepositoryName } from '../image/names.js';
import type { LeftOut } from '../image/staged-content.js';
import type { RedirectOci } from '../snapshot/content-files.js';
import { convertAll, type StoredForm, wantedSince } from '../snapshot/convert.js';
import type { ClockReading } from '../snapshot/elapsed.js';
import { carriesTheSame, servesTheSame, settle } from '../snapshot/merge.js';
import { type RenderOptions, redirectFileName, renderRedirectFile } from '../snapshot/render.js';
import { render } from '../snapshot/rendering.js';
import type { SnapshotReason, StoredSnapshot } from '../snapshot/snapshot-file.js';
import { type RepositoryState, withBlobsOf } from '../snapshot/state.js';
import { nextTimestamp, type Timestamp, timestampMs } from '../snapshot/timestamp.js';
import { listSnapshots } from './current.js';
import { expiredUpTo, flipAges } from './grace.js';
import { readFullHistory } from './history.js';
import { contentPath, snapshotPath, type TreeRoots, workPath } from './paths.js';
import { recallRendering, recallSnapshot, rememberSnapshot } from './recall.js';
import { loadManifest, writeTree } from './tree-writer.js';

/** What the settings say about one repository. */
export interface RepositoryPolicy {
  readonly repository: RepositoryName;
  readonly id: RepositoryId;
  readonly mode: 'merge' | 'replace';
  readonly protected: boolean;
  /** Patterns of tags that may not move: `*` stands for anything. */
  readonly immutableTags: readonly string[];
  readonly urlTemplate: string;
  readonly redirectOci: RedirectOci;
  readonly keep: number;
  readonly graceMs: number;
}

export interface NextRequest {
  readonly roots: TreeRoots;
  readonly policy: RepositoryPolicy;
  readonly transaction: string;
  readonly base: Timestamp | null;
  readonly nowMs: number;
  /** What is carried on, and no longer, is judged by this. */
  readonly clock: ClockReading;
  /** Docker forms that are in the store by now, by the digest of the original. */
  readonly ready?: ReadonlyMap<Digest, StoredForm>;
}

export interface NextSnapshot {
  /** Null when clients would see no difference: no snapshot was made. */
  readonly snapshot: Timestamp | null;
  readonly reason: SnapshotReason;
  readonly leftOut: readonly LeftOut[];
  /** How many the snapshot has in its large directories; 0 where none was made. */
  readonly files: number;
}

/**
 * @param stored what `base` names
 * @param merged what the repository is to become
 * @param reason stands in the snapshot, and from there in the history
 * @throws system errors; nothing but the work directory is left behind
 */
export function buildNext(
  disk: Disk,
  request: NextRequest,
  stored: StoredSnapshot | undefined,
  merged: RepositoryState,
  reason: SnapshotReason,
): NextSnapshot {
  const { roots, policy, base } = request;
  const isConverted = stored?.redirectOci === 'convert';
  const before = isConverted ? stored.state : undefined;
  const { ready } = request;
  const { state: converted, leftOut } = convertTags(disk, request, merged, before, ready);
  const snapshot = nextTimestamp(request.nowMs, listSnapshots(disk, roots, policy.id));
  const expiredMs = expiredFor(disk, request, stored?.state);
  const next = settle(converted, stored?.state, { stampMs: timestampMs(snapshot), expiredMs });
  const isThere =
    stored !== undefined &&
    (reason.why === 'clean'
      ? carriesTheSame(next, stored.state)
      : isUnchanged(disk, request, stored, next));
  if (isThere) return { snapshot: null, reason, leftOut, files: 0 };
  // Render: a plain list of files.
  const freshTime = Math.max(Math.floor(request.nowMs / 1000), (stored?.freshTime ?? 0) + 1);
  const header = { snapshot, base, reason, freshTime };
  const last = recallRendering(stored).rendering;
  const rendering = render(last, next, renderOptions(policy, header));
  const { id, redirectOci } = policy;
  const { transaction } = request;
  writeTree(disk, { roots, id, transaction, snapshot, base, stored, rendering, freshTime });
  rememberSnapshot(disk, roots, id, { ...header, redirectOci, state: next }, rendering);
  return { snapshot, reason, leftOut, files: rendering.inventory.count };
}

/** See `expiredUpTo`. Only where the last snapshot carries something the history has to tell. */
function expiredFor(
  disk: Disk,
  { roots, policy: { id, graceMs }, clock }: NextRequest,
  last: RepositoryState | undefined,
): number {
  if (graceMs <= 0) return Number.POSITIVE_INFINITY;
  if (last === undefined || last.carried.size === 0) return Number.NEGATIVE_INFINITY;
  const { flips, sightings } = readFullHistory(disk, roots, id);
  return expiredUpTo(flips, flipAges(flips, sightings, clock), graceMs);
}

/** @throws layout.unsafe when another repository has this id: nothing of it may be taken over (I8) */
export function readOwn(
  disk: Disk,
  { roots, policy }: Pick<NextRequest, 'roots' | 'policy'>,
  base: Timestamp,
): StoredSnapshot {
  const stored = recallSnapshot(disk, roots, policy.id, base);
  const owner = stored.state.repository;
  if (owner === policy.repository) return stored;
  throw new DropdockError(
    'layout.unsafe',
    `The id ${policy.id} belongs to the repository ${owner}; give ${policy.repository} another.`,
    { path: policy.id },
  );
}

/**
 * Gives the OCI images behind tags their Docker form, or takes it away, as the settings say.
 * @param before what `merged` was made of, if all of it was converted
 * @param ready Docker forms that are in the store by now
 */
export function convertTags(
  disk: Disk,
  { roots, policy, transaction }: Pick<NextRequest, 'roots' | 'policy' | 'transaction'>,
  merged: RepositoryState,
  before?: RepositoryState,
  ready?: ReadonlyMap<Digest, StoredForm>,
): { state: RepositoryState; leftOut: readonly LeftOut[] } {
  if (policy.redirectOci !== 'convert') {
    return { state: { ...merged, conversions: new Map() }, leftOut: [] };
  }
  const wanted = wantedSince(before, merged);
  const load = (digest: Digest) => loadManifest(disk, roots, digest);
  const { conversions, made, found, leftOut } = convertAll(wanted, merged.conversions, {
    manifests: merged.manifests,
    load,
    ...(ready && { ready }),
  });
  ingestAllBytes(
    disk,
    made.map(({ digest, bytes }) => ({ bytes, destination: contentPath(roots, digest) })),
    workPath(roots, transaction),
  );
  const records = [...made, ...found].map(({ digest, record }) => {
    // It may have been dropped by itself, with a layer that the original was published without.
    const known = merged.manifests.get(digest);
    return [digest, known ? withBlobsOf(known, record) : record] as const;
  });
  const manifests =
    records.length > 0 ? new Map([...merged.manifests, ...records]) : merged.manifests;
  return { state: { ...merged, manifests, conversions }, leftOut };
}

/** The same content under the same settings; only then may a drop leave everything as it is. */
function isUnchanged(
  disk: Disk,
  { roots, policy }: NextRequest,
  stored: StoredSnapshot,
  next: RepositoryState,
): boolean {
  if (stored.redirectOci !== policy.redirectOci || !servesTheSame(next, stored.state)) return false;
  const snapshot = stored.snapshot as Timestamp;
  const path = join(snapshotPath(roots, policy.id, snapshot), redirectFileName(policy.id));
  const options = renderOptions(policy, stored);
  const wanted = Buffer.from(renderRedirectFile(stored.state, options));
  const there = disk.statIfThere(path);
  return there?.size === wanted.length && readFile(disk, path, wanted.length).equals(wanted);
}

export function renderOptions(
  { redirectOci, urlTemplate, ...policy }: RepositoryPolicy,
  {
    snapshot,
    base,
    reason,
    freshTime,
  }: Pick<RenderOptions, 'snapshot' | 'base' | 'reason' | 'freshTime'>,
): RenderOptions {
  return {
    snapshot,
    base,
    reason,
    freshTime,
    redirectOci,
    urlTemplate,
    protected: policy.protected,
  };
}
