/**
 * Computes the next state of a repository from a change. Pure, and the same for every kind of target: a
 * publish, a rollback or a removal has the same effect in a directory and in an object store.
 */
import { DropdockError, faultOf, type PlainError, toPlainError } from '../errors.js';
import type { RepositoryId, RepositoryName, Tag } from '../image/names.js';
import { matchesPattern } from '../image/pattern.js';
import type { LeftOut, StagedContent } from '../image/staged-content.js';
import type { RedirectOci } from './content-files.js';
import {
  applyDrop,
  carriesTheSame,
  servesTheSame,
  settle,
  type TagMove,
  tagMoves,
} from './merge.js';
import type { RenderOptions } from './render.js';
import type { SnapshotReason, StoredSnapshot } from './snapshot-file.js';
import { emptyState, type Origin, type RepositoryState, withBlobsOf } from './state.js';
import { nextTimestamp, type Timestamp, timestampMs } from './timestamp.js';

/** The settings of one repository. */
export interface RepositoryPolicy {
  readonly repository: RepositoryName;
  readonly id: RepositoryId;
  readonly mode: 'merge' | 'replace';
  readonly protected: boolean;
  /** Patterns of tags that must not move; `*` matches anything. */
  readonly immutableTags: readonly string[];
  readonly urlTemplate: string;
  readonly redirectOci: RedirectOci;
  readonly keep: number;
  readonly graceMs: number;
}

/** A drop whose content is verified and stored. */
export interface DropToMerge {
  readonly content: StagedContent;
  readonly origin: Origin;
  /** The user it is from; undefined if unknown. */
  readonly by?: string | undefined;
}

/** A manual change by an operator. */
export type Edit = {
  /** The user who ran the command. */
  readonly by?: string | undefined;
} /** `to` undefined: the previous snapshot. */ & (
  | { readonly kind: 'rollback'; readonly to: Timestamp | undefined }
  | { readonly kind: 'untag'; readonly tags: readonly string[] }
  | { readonly kind: 'remove' }
);

/** A change of a repository. A plain value: every target applies it, and applies it again after a race. */
export type Change<Drop extends DropToMerge = DropToMerge> =
  | Edit
  /** Depending on the policy's mode, each drop is merged, or the last one replaces everything. */
  | { readonly kind: 'publish'; readonly drops: readonly Drop[] }
  /** Changes no tag: removes content that is past its grace period. */
  | { readonly kind: 'expire' };

/** The result of merging one drop of a batch; a failed drop does not affect the others. */
export type MergeOutcome =
  | { readonly ok: true; readonly moves: readonly TagMove[] }
  | { readonly ok: false; readonly error: PlainError };

/** A snapshot that a rollback restores. */
export interface RestoredSnapshot {
  readonly snapshot: Timestamp;
  readonly state: RepositoryState;
}

export interface ChangedState {
  readonly state: RepositoryState;
  /** For a publish, in the order of its drops. */
  readonly outcomes: readonly MergeOutcome[];
  readonly moves: readonly TagMove[];
  readonly reason: SnapshotReason;
}

/**
 * @param before the current state; undefined if there is none
 * @param restored the snapshot to restore in a rollback, found by `rollbackOrder`
 * @throws repository.unknown, tag.unknown, layout.unsafe
 */
export function nextState(
  before: RepositoryState | undefined,
  change: Change,
  policy: Pick<RepositoryPolicy, 'repository' | 'id' | 'mode' | 'immutableTags'>,
  restored?: RestoredSnapshot,
): ChangedState {
  if (before) checkOwner(policy, before);
  if (change.kind === 'publish') {
    const base = before ?? emptyState(policy.repository, policy.id);
    const { merged, outcomes } = mergeAll(change.drops, policy, base);
    const taken = change.drops.filter((_, at) => outcomes[at]?.ok).map(({ origin }) => origin);
    const moves = tagMoves(base.tags, merged.tags);
    return { state: merged, outcomes, moves, reason: { why: 'publish', drops: taken } };
  }
  if (before === undefined || (before.removed && change.kind !== 'rollback')) {
    throw new DropdockError('repository.unknown', `There is no repository ${policy.repository}.`, {
      path: policy.id,
    });
  }
  const state = edited(before, change, policy, restored);
  const detail = change.kind === 'untag' ? change.tags.join(' ') : restored?.snapshot;
  const why = change.kind === 'expire' ? 'clean' : change.kind;
  const reason = { why, drops: [], ...(detail !== undefined && { detail }) } as const;
  return { state, outcomes: [], moves: tagMoves(before.tags, state.tags), reason };
}

function edited(
  before: RepositoryState,
  change: Exclude<Change, { readonly kind: 'publish' }>,
  policy: Pick<RepositoryPolicy, 'repository' | 'id'>,
  restored: RestoredSnapshot | undefined,
): RepositoryState {
  if (change.kind === 'expire') return before;
  if (change.kind === 'untag') return untag(before, change.tags);
  if (change.kind === 'remove') return removeAll(before);
  if (restored === undefined) throw new Error('a rollback needs the snapshot it restores');
  checkOwner(policy, restored.state);
  return restore(before, restored.state);
}

function mergeAll(
  drops: readonly DropToMerge[],
  { mode, immutableTags }: Pick<RepositoryPolicy, 'mode' | 'immutableTags'>,
  before: RepositoryState,
): { merged: RepositoryState; outcomes: MergeOutcome[] } {
  const isImmutable = (tag: Tag) => immutableTags.some((pattern) => matchesPattern(pattern, tag));
  let merged = before;
  const outcomes = drops.map(({ content, origin }): MergeOutcome => {
    try {
      const applied = applyDrop(merged, content, origin, { mode, isImmutable });
      merged = applied.state;
      return { ok: true, moves: applied.moves };
    } catch (error) {
      if (faultOf(error) !== 'content') throw error;
      return { ok: false, error: toPlainError(error) };
    }
  });
  return { merged, outcomes };
}

/** @throws layout.unsafe if this id belongs to another repository: its content must not be reused (I8) */
export function checkOwner(
  { repository, id }: Pick<RepositoryPolicy, 'repository' | 'id'>,
  { repository: owner }: RepositoryState,
): void {
  if (owner === repository) return;
  throw new DropdockError(
    'layout.unsafe',
    `The id ${id} belongs to the repository ${owner}; set another id for ${repository}.`,
    { path: id },
  );
}

/**
 * Returns the snapshots that a rollback without a name tries, in this order; the first one for which
 * `leadsBack` is true is restored. A second rollback undoes the first.
 * @param flips the snapshots that were current, oldest first
 * @param builtOn the base of the current snapshot, in case the history was lost
 */
export function rollbackOrder(
  flips: readonly Timestamp[],
  current: Timestamp | null,
  builtOn?: Timestamp | null,
): Timestamp[] {
  const names = new Set([...[...flips].reverse(), ...(builtOn ? [builtOn] : [])]);
  if (current) names.delete(current);
  return [...names];
}

export interface PlanInput {
  readonly policy: RepositoryPolicy;
  readonly change: Change;
  /** The current snapshot as stored. */
  readonly stored: StoredSnapshot | undefined;
  readonly restored?: RestoredSnapshot | undefined;
  readonly nowMs: number;
  /** Names that must not be used again. */
  readonly taken: readonly string[];
  /** Content kept since the snapshot of this name (ms) or an earlier one is past its grace period. */
  readonly expiredMs: number;
  /**
   * Adds or removes the Docker forms of images. @param before the last state, if it was completely converted
   */
  readonly convert: (
    merged: RepositoryState,
    before: RepositoryState | undefined,
  ) => { readonly state: RepositoryState; readonly leftOut: readonly LeftOut[] };
  /** Returns true if the published redirect file matches the settings. */
  readonly isRedirectRight: (options: RenderOptions) => boolean;
}

export interface Plan extends Omit<ChangedState, 'state'> {
  readonly leftOut: readonly LeftOut[];
  /** Undefined if clients would see no difference: no snapshot is made. */
  readonly next: { readonly state: RepositoryState; readonly options: RenderOptions } | undefined;
}

/** Step 5 of a publish: plans the next snapshot from the current one. Performs no I/O. */
export function planNext(input: PlanInput): Plan {
  const { policy, change, stored, restored, nowMs, taken, expiredMs } = input;
  const { state: merged, ...changed } = nextState(stored?.state, change, policy, restored);
  const isNothing = change.kind === 'publish' && changed.reason.drops.length === 0;
  if (isNothing) return { ...changed, leftOut: [], next: undefined };
  const wasConverted = stored?.redirectOci === 'convert';
  const { state, leftOut } = input.convert(merged, wasConverted ? stored.state : undefined);
  const snapshot = nextTimestamp(nowMs, taken);
  const next = settle(state, stored?.state, { stampMs: timestampMs(snapshot), expiredMs });
  if (stored && isSame(input, stored, next)) return { ...changed, leftOut, next: undefined };
  const freshTime = Math.max(Math.floor(nowMs / 1000), (stored?.freshTime ?? 0) + 1);
  const base = stored?.snapshot ?? null;
  const options = renderOptions(policy, { snapshot, base, reason: changed.reason, freshTime });
  return { ...changed, leftOut, next: { state: next, options } };
}

/** Returns true if content and settings are unchanged; only then can a change be skipped. */
function isSame(
  { policy, change, isRedirectRight }: PlanInput,
  stored: StoredSnapshot,
  next: RepositoryState,
): boolean {
  if (change.kind === 'expire') return carriesTheSame(next, stored.state);
  if (stored.redirectOci !== policy.redirectOci || !servesTheSame(next, stored.state)) return false;
  return isRedirectRight(renderOptions(policy, stored));
}

export function renderOptions(
  { redirectOci, urlTemplate, protected: isProtected }: RepositoryPolicy,
  {
    snapshot,
    base,
    reason,
    freshTime,
  }: Pick<RenderOptions, 'snapshot' | 'base' | 'reason' | 'freshTime'>,
): RenderOptions {
  const settings = { redirectOci, urlTemplate, protected: isProtected };
  return { snapshot, base, reason, freshTime, ...settings };
}

/** Removes tags, and their content unless something else references it. @throws tag.unknown */
export function untag(state: RepositoryState, gone: readonly string[]): RepositoryState {
  const tags = new Map(state.tags);
  for (const tag of gone) {
    if (tags.delete(tag as Tag)) continue;
    throw new DropdockError('tag.unknown', `${state.repository} has no tag ${tag}.`, { path: tag });
  }
  return { ...state, tags };
}

/**
 * Returns true if a rollback may restore this snapshot. It must serve something else than the current one:
 * republished or compacted copies are skipped. Removals, and snapshots of another repository that had this
 * id, are skipped as well. The same for every target.
 */
export function leadsBack(current: RepositoryState, earlier: RepositoryState): boolean {
  if (earlier.repository !== current.repository || earlier.removed) return false;
  // Ignore conversions: they depend on the settings only.
  const again = { ...restore(current, earlier), conversions: current.conversions };
  return !servesTheSame(again, current);
}

/** Removes everything except the content kept for the grace period. */
export function removeAll(state: RepositoryState): RepositoryState {
  return { ...state, tags: new Map(), untagged: new Map(), removed: true };
}

/** Restores an earlier snapshot; `settle` keeps newer content for the grace period. */
export function restore(state: RepositoryState, kept: RepositoryState): RepositoryState {
  const manifests = new Map(state.manifests);
  for (const [digest, record] of kept.manifests) {
    // A layer missing then may have been added since: the served content must not shrink.
    const now = state.manifests.get(digest);
    const isOther = now?.mediaType !== record.mediaType;
    manifests.set(digest, isOther ? record : withBlobsOf(now, record));
  }
  return { ...kept, carried: state.carried, manifests };
}
