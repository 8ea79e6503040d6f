/**
 * What a change makes of a repository. Pure, and the same for every kind of target: a publish, a rollback or
 * a removal means the same in a directory and in an object store.
 */
import { DropdockError, faultOf, type PlainError, toPlainError } from '../errors.js';
import type { RepositoryId, RepositoryName, Tag } from '../image/names.js';
import { matchesPattern } from '../image/pattern.js';
import type { LeftOut, StagedContent } from '../image/staged-content.js';
import type { RedirectOci } from './content-files.js';
import { leadsBack, removeAll, restore, untag } from './edit.js';
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
import { emptyState, type Origin, type RepositoryState } from './state.js';
import { nextTimestamp, type Timestamp, timestampMs } from './timestamp.js';

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

/** A drop whose content is verified and stored. */
export interface DropToMerge {
  readonly content: StagedContent;
  readonly origin: Origin;
}

/** A change that an operator makes by hand. */
export type Edit =
  /** `to` undefined: the snapshot that was current before. */
  | { readonly kind: 'rollback'; readonly to: Timestamp | undefined }
  | { readonly kind: 'untag'; readonly tags: readonly string[] }
  | { readonly kind: 'remove' };

/** What is to become of a repository. A value: every target applies it, and applies it again after a race. */
export type Change<Drop extends DropToMerge = DropToMerge> =
  | Edit
  /** By the policy's mode the drops are merged, each for itself, or the last of them replaces everything. */
  | { readonly kind: 'publish'; readonly drops: readonly Drop[] }
  /** Changes no tag: forgets what was kept for the grace period and is past it. */
  | { readonly kind: 'expire' };

/** What merging one drop of a batch gave; a bad one holds back none of the others. */
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
  /** Of a publish, in the order of its drops. */
  readonly outcomes: readonly MergeOutcome[];
  readonly moves: readonly TagMove[];
  readonly reason: SnapshotReason;
}

/**
 * @param before what is current; undefined where there is none
 * @param restored what a rollback leads to, found by `rollbackOrder`
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

/** @throws layout.unsafe when another repository has this id: nothing of it may be taken over (I8) */
export function checkOwner(
  { repository, id }: Pick<RepositoryPolicy, 'repository' | 'id'>,
  { repository: owner }: RepositoryState,
): void {
  if (owner === repository) return;
  throw new DropdockError(
    'layout.unsafe',
    `The id ${id} belongs to the repository ${owner}; give ${repository} another.`,
    { path: id },
  );
}

/**
 * The snapshots that a rollback without a name tries, in this order; the first that `leadsBack` is restored.
 * Rolling back twice leads forth again.
 * @param flips what was current, oldest first
 * @param builtOn what the current snapshot was built on, for where the history was lost
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

export { leadsBack };

export interface PlanInput {
  readonly policy: RepositoryPolicy;
  readonly change: Change;
  /** What is current, as it was stored. */
  readonly stored: StoredSnapshot | undefined;
  readonly restored?: RestoredSnapshot | undefined;
  readonly nowMs: number;
  /** Names that may not be used any more. */
  readonly taken: readonly string[];
  /** What is carried since the snapshot of this name (ms), or an earlier one, is past its grace period. */
  readonly expiredMs: number;
  /** Gives images their Docker form, or takes it away. @param before the last state, if all of it was converted */
  readonly convert: (
    merged: RepositoryState,
    before: RepositoryState | undefined,
  ) => { readonly state: RepositoryState; readonly leftOut: readonly LeftOut[] };
  /** Whether the redirect file that clients see is the one the settings ask for. */
  readonly isRedirectRight: (options: RenderOptions) => boolean;
}

export interface Plan extends Omit<ChangedState, 'state'> {
  readonly leftOut: readonly LeftOut[];
  /** Undefined when clients would see no difference: no snapshot is made. */
  readonly next: { readonly state: RepositoryState; readonly options: RenderOptions } | undefined;
}

/** Step 5 of a publish: from what is current to what is to be written. Reads and writes nothing itself. */
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

/** The same content under the same settings; only then may a change leave everything as it is. */
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
