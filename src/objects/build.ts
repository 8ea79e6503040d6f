/**
 * Between what a store says is current and what it is to say next: the work on the text of
 * snapshots, for a thread. A snapshot of 50,000 tags is 40 MB of it.
 */
import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import type { Disk } from '../disk/disk.js';
import { DropdockError } from '../errors.js';
import type { Digest } from '../image/digest.js';
import type { LeftOut } from '../image/staged-content.js';
import { type BuildRequest, type MergeOutcome, mergeAll } from '../publish/build.js';
import type { Edit } from '../publish/edit.js';
import { convertTags, type RepositoryPolicy, renderOptions } from '../publish/next-snapshot.js';
import { contentPath, type TreeRoots } from '../publish/paths.js';
import { leadsBack, removeAll, restore, untag } from '../snapshot/edit.js';
import { liveManifests, servesTheSame, settle, type TagMove, tagMoves } from '../snapshot/merge.js';
import { renderRedirectFile } from '../snapshot/render.js';
import {
  parseSnapshot,
  type SnapshotReason,
  type StoredSnapshot,
  serialiseSnapshot,
} from '../snapshot/snapshot-file.js';
import { emptyState, type ManifestRecord, type RepositoryState } from '../snapshot/state.js';
import { nextTimestamp, type Timestamp, timestampMs } from '../snapshot/timestamp.js';
import { allObjects, type NeededObject, neededObjects } from './needed.js';

/** A snapshot object as it was read. */
export interface SnapshotText {
  readonly snapshot: Timestamp;
  readonly text: Uint8Array;
}

export interface BuildObjectsRequest {
  readonly roots: TreeRoots;
  readonly policy: RepositoryPolicy;
  readonly transaction: string;
  readonly nowMs: number;
  /** What is carried since the snapshot of this name (ms), or an earlier one, is past its grace period. */
  readonly expiredMs: number;
  readonly base: (SnapshotText & { readonly redirectHash: string }) | undefined;
  /** Names that may not be used any more. */
  readonly taken: readonly Timestamp[];
  readonly change:
    | { readonly drops: BuildRequest['drops'] }
    /** `restored`: what a rollback leads to. */
    | { readonly edit: Edit; readonly restored: SnapshotText | undefined };
}

/** What is to be put, and what the pointer says of it. */
export interface NextObjects {
  readonly snapshot: Timestamp;
  readonly reason: SnapshotReason;
  /** The snapshot object, packed. */
  readonly packed: Uint8Array;
  readonly redirect: string;
  readonly redirectHash: string;
  readonly tags: number;
  readonly removed: boolean;
  /** What this snapshot serves and the last one did not. */
  readonly needs: readonly NeededObject[];
}

export interface BuiltObjects {
  readonly outcomes: readonly MergeOutcome[];
  readonly moves: readonly TagMove[];
  readonly leftOut: readonly LeftOut[];
  /** Manifests whose bytes are in the store only: bring them here and ask again. */
  readonly absent: readonly Digest[];
  /** Undefined when clients would see no difference. */
  readonly next: NextObjects | undefined;
}

/** @throws layout.unsafe, repository.unknown, tag.unknown, system errors; writes no snapshot */
export function buildObjects(disk: Disk, request: BuildObjectsRequest): BuiltObjects {
  const { base, policy } = request;
  const stored = base && readOwn(request, base);
  const before = stored?.state ?? emptyState(policy.repository, policy.id);
  const { merged, outcomes, reason } = change(request, before);
  const moves = tagMoves(before.tags, merged.tags);
  const nothing = { outcomes, moves, leftOut: [], absent: [], next: undefined };
  if ('drops' in request.change && reason.drops.length === 0) return nothing;
  const absent = absentForConversion(disk, request, merged);
  if (absent.length > 0) return { ...nothing, absent };
  const { state, leftOut } = convertTags(disk, request, merged);
  const { nowMs, taken, expiredMs } = request;
  const snapshot = nextTimestamp(nowMs, [...taken, ...(base ? [base.snapshot] : [])]);
  const next = settle(state, stored?.state, { stampMs: timestampMs(snapshot), expiredMs });
  if (stored && isUnchanged(request, stored, next)) return { ...nothing, leftOut };
  return { ...nothing, leftOut, next: render(request, snapshot, stored, next, reason) };
}

function render(
  request: BuildObjectsRequest,
  snapshot: Timestamp,
  stored: StoredSnapshot | undefined,
  next: RepositoryState,
  reason: SnapshotReason,
): NextObjects {
  const { policy, nowMs, base } = request;
  const freshTime = Math.max(Math.floor(nowMs / 1000), (stored?.freshTime ?? 0) + 1);
  const header = { snapshot, base: base?.snapshot ?? null, reason, freshTime };
  const options = renderOptions(policy, header);
  const redirect = renderRedirectFile(next, options);
  const text = Buffer.from(serialiseSnapshot(next, options));
  last = { text, stored: { ...options, state: next } };
  return {
    snapshot,
    reason,
    packed: gzipSync(text, { level: 1 }),
    redirect,
    redirectHash: hashOf(redirect),
    tags: next.tags.size,
    removed: next.removed === true,
    needs: neededObjects(next, stored?.state),
  };
}

function change(
  { change: wanted, policy, base }: BuildObjectsRequest,
  before: RepositoryState,
): { merged: RepositoryState; outcomes: readonly MergeOutcome[]; reason: SnapshotReason } {
  if ('drops' in wanted) {
    const { merged, outcomes } = mergeAll({ drops: wanted.drops, policy }, before);
    const drops = wanted.drops.filter((_, at) => outcomes[at]?.ok).map(({ origin }) => origin);
    return { merged, outcomes, reason: { why: 'publish', drops } };
  }
  const { edit, restored } = wanted;
  if (base === undefined || (before.removed && edit.kind !== 'rollback')) {
    throw new DropdockError('repository.unknown', `There is no repository ${policy.repository}.`, {
      path: policy.id,
    });
  }
  const detail = edit.kind === 'untag' ? edit.tags.join(' ') : restored?.snapshot;
  const reason = { why: edit.kind, drops: [], ...(detail !== undefined && { detail }) };
  if (edit.kind === 'untag') return { merged: untag(before, edit.tags), outcomes: [], reason };
  if (edit.kind === 'remove') return { merged: removeAll(before), outcomes: [], reason };
  if (restored === undefined) throw new Error('a rollback leads somewhere');
  const kept = parseSnapshot(toBuffer(restored.text), restored.snapshot).state;
  checkOwner(policy, kept);
  return { merged: restore(before, kept), outcomes: [], reason };
}

/** What a conversion would read and this machine does not have. */
function absentForConversion(
  disk: Disk,
  { roots, policy }: BuildObjectsRequest,
  { tags, manifests, conversions }: RepositoryState,
): Digest[] {
  if (policy.redirectOci !== 'convert') return [];
  const isHere = (digest: Digest) => disk.statIfThere(contentPath(roots, digest)) !== undefined;
  const wanted = [...tags.values()].map(({ digest }) => digest);
  const seen = new Set<Digest>();
  const absent: Digest[] = [];
  for (let digest = wanted.pop(); digest !== undefined; digest = wanted.pop()) {
    const record = manifests.get(digest);
    if (record === undefined || seen.has(digest)) continue;
    seen.add(digest);
    if (!/oci/.test(record.mediaType)) continue;
    const isIndex = record.children.length > 0;
    if (isIndex) wanted.push(...record.children.map((child) => child.digest));
    // The form of an index is looked at again each time, that of an image is made once.
    if ((isIndex || !conversions.has(digest)) && !isHere(digest)) absent.push(digest);
  }
  return absent;
}

function isUnchanged(
  { policy, base }: BuildObjectsRequest,
  stored: StoredSnapshot,
  next: RepositoryState,
): boolean {
  if (stored.redirectOci !== policy.redirectOci || !servesTheSame(next, stored.state)) return false;
  const options = renderOptions(policy, stored);
  return hashOf(renderRedirectFile(stored.state, options)) === base?.redirectHash;
}

function hashOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/**
 * What this thread built or read last. Known again by all of its bytes: a name that was built and
 * lost to another publisher may stand for other content.
 */
let last: { readonly text: Buffer; readonly stored: StoredSnapshot } | undefined;

/** @throws layout.unsafe when another repository has this id (I8) */
function readOwn(
  { policy }: Pick<BuildObjectsRequest, 'policy'>,
  { snapshot, text: given }: SnapshotText,
): StoredSnapshot {
  const text = toBuffer(given);
  const stored = last?.text.equals(text) ? last.stored : parseSnapshot(text, snapshot);
  last = { text, stored };
  checkOwner(policy, stored.state);
  return stored;
}

/** Whether a rollback that names no snapshot leads to this one; see `leadsBack`. */
export function isEarlier({
  policy,
  base,
  earlier,
}: {
  readonly policy: RepositoryPolicy;
  readonly base: SnapshotText;
  readonly earlier: SnapshotText;
}): boolean {
  const { state } = readOwn({ policy }, base);
  return leadsBack(state, parseSnapshot(toBuffer(earlier.text), earlier.snapshot).state);
}

/** @throws layout.unsafe when another repository has this id (I8) */
function checkOwner(policy: RepositoryPolicy, { repository: owner }: RepositoryState): void {
  if (owner === policy.repository) return;
  throw new DropdockError(
    'layout.unsafe',
    `The id ${policy.id} belongs to the repository ${owner}; give ${policy.repository} another.`,
    { path: policy.id },
  );
}

/** The redirect file of what is current, as the settings are now. */
export function redirectOf(request: {
  readonly policy: RepositoryPolicy;
  readonly base: SnapshotText;
}): string {
  const stored = readOwn(request, request.base);
  return renderRedirectFile(stored.state, renderOptions(request.policy, stored));
}

/**
 * What a snapshot needs, for a cleaning and for whoever checks it.
 * @param expiredMs what is carried since the snapshot of this name, or an earlier one, is not asked for
 */
export function objectsOf({
  text,
  where,
  expiredMs,
}: {
  readonly text: Uint8Array;
  readonly where: string;
  readonly expiredMs: number;
}): readonly NeededObject[] {
  return allObjects(parseSnapshot(toBuffer(text), where).state, expiredMs);
}

/** What a snapshot says of each manifest that is the truth in it, for whoever checks it. */
export function recordsOf({
  text,
  where,
}: {
  readonly text: Uint8Array;
  readonly where: string;
}): readonly { readonly digest: Digest; readonly record: ManifestRecord }[] {
  const { state } = parseSnapshot(toBuffer(text), where);
  return [...liveManifests(state)].flatMap((digest) => {
    const record = state.manifests.get(digest);
    return record ? [{ digest, record }] : [];
  });
}

/** What crossed threads is no Buffer any more. */
function toBuffer({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}
