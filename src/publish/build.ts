/** Step 5 of a publish: merge the drops, each for itself, and build what comes of it. */
import type { Disk } from '../disk/disk.js';
import { faultOf, type PlainError, toPlainError } from '../errors.js';
import type { Tag } from '../image/names.js';
import { matchesPattern } from '../image/pattern.js';
import type { StagedContent } from '../image/staged-content.js';
import { applyDrop, type TagMove } from '../snapshot/merge.js';
import { emptyState, type Origin, type RepositoryState } from '../snapshot/state.js';
import type { Timestamp } from '../snapshot/timestamp.js';
import { readThroughPivot } from './current.js';
import {
  buildNext,
  type NextRequest,
  type NextSnapshot,
  type RepositoryPolicy,
  readOwn,
} from './next-snapshot.js';
import type { TreeRoots } from './paths.js';

export interface BuildRequest extends NextRequest {
  readonly drops: readonly { readonly content: StagedContent; readonly origin: Origin }[];
}

/** What became of one drop of a batch; a bad one holds back none of the others. */
export type MergeOutcome =
  | { readonly ok: true; readonly moves: readonly TagMove[] }
  | { readonly ok: false; readonly error: PlainError };

export interface BuildResult extends NextSnapshot {
  /** In the order of the request's drops. */
  readonly outcomes: readonly MergeOutcome[];
}

/** @throws system errors; nothing but the work directory is left behind */
export function buildSnapshot(disk: Disk, request: BuildRequest): BuildResult {
  const { policy, base } = request;
  const stored = base === null ? undefined : readOwn(disk, request, base);
  const before = stored?.state ?? emptyState(policy.repository, policy.id);
  const { merged, outcomes } = mergeAll(request, before);
  const taken = request.drops.filter((_, at) => outcomes[at]?.ok).map(({ origin }) => origin);
  const reason = { why: 'publish' as const, drops: taken };
  if (taken.length === 0) return { outcomes, snapshot: null, reason, leftOut: [], files: 0 };
  return { outcomes, ...buildNext(disk, request, stored, merged, reason) };
}

export interface CheckRequest {
  readonly roots: TreeRoots;
  readonly policy: RepositoryPolicy;
  readonly content: StagedContent;
  readonly origin: Origin;
}

/** Would this drop be taken? Reads only. @throws tag.immutable */
export function checkMerge(disk: Disk, { roots, policy, content, origin }: CheckRequest): void {
  const read = (base: Timestamp) => readOwn(disk, { roots, policy }, base).state;
  const current = readThroughPivot(disk, roots, policy.id, read);
  const before = current ?? emptyState(policy.repository, policy.id);
  const isImmutable = tagMatcher(policy.immutableTags);
  applyDrop(before, content, origin, { mode: policy.mode, isImmutable });
}

/** Also for object stores: the same drops on the same state make the same. */
export function mergeAll(
  { drops, policy }: Pick<BuildRequest, 'drops' | 'policy'>,
  before: RepositoryState,
): { merged: RepositoryState; outcomes: MergeOutcome[] } {
  const isImmutable = tagMatcher(policy.immutableTags);
  let merged = before;
  const outcomes = drops.map(({ content, origin }): MergeOutcome => {
    try {
      const applied = applyDrop(merged, content, origin, { mode: policy.mode, isImmutable });
      merged = applied.state;
      return { ok: true, moves: applied.moves };
    } catch (error) {
      if (faultOf(error) !== 'content') throw error;
      return { ok: false, error: toPlainError(error) };
    }
  });
  return { merged, outcomes };
}

/** @param patterns as in the settings */
function tagMatcher(patterns: readonly string[]): (tag: Tag) => boolean {
  return (tag) => patterns.some((pattern) => matchesPattern(pattern, tag));
}
