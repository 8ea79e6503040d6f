/** Builds states from short drop descriptions, as a publish would. */
import type { Digest } from '#src/image/digest.js';
import type { RepositoryId, RepositoryName, Tag } from '#src/image/names.js';
import type { StagedContent } from '#src/image/staged-content.js';
import {
  applyDrop,
  type GracePeriod,
  type MergePolicy,
  settle,
  type TagMove,
} from '#src/repository/merge.js';
import { emptyState, type RepositoryState } from '#src/repository/state.js';
import { readDrop } from '../formats/drop-fixture.js';
import type { TestContent, TestDescriptor } from '../support/make-image.js';
import { tempDir } from '../support/temp-dir.js';

export const MERGE: MergePolicy = { mode: 'merge', isImmutable: () => false };
export const REPLACE: MergePolicy = { mode: 'replace', isImmutable: () => false };
export const GRACE_MS = 1000;

export const nothing = () => emptyState('team/app' as RepositoryName, 'team~app' as RepositoryId);

/** What a reader makes of a layout with these images. */
export function staged(
  content: TestContent,
  roots: readonly { image: TestDescriptor; tag?: string }[],
): StagedContent {
  const path = tempDir();
  content.writeLayout(path, roots);
  return readDrop(path).content;
}

/** The state after a drop, and what moved. */
export function dropped(
  base: RepositoryState,
  content: StagedContent,
  { nowMs = 0, graceMs = GRACE_MS, policy = MERGE, name = 'drop' } = {},
): { state: RepositoryState; moves: readonly TagMove[] } {
  const origin = { drop: name, at: '20261123T152634.123Z' };
  const { state, moves } = applyDrop(base, content, origin, policy);
  const isFirst = base.manifests.size === 0;
  return { state: settle(state, isFirst ? undefined : base, grace(nowMs, graceMs)), moves };
}

/** Where names and the time that passed go together. */
export function grace(nowMs: number, graceMs: number): GracePeriod {
  const expiredMs = graceMs === 0 ? Number.POSITIVE_INFINITY : nowMs - graceMs;
  return { stampMs: nowMs, expiredMs };
}

export function tagsOf(state: RepositoryState): Record<string, string> {
  return Object.fromEntries([...state.tags].map(([tag, { digest }]) => [tag, digest]));
}

export const digest = (descriptor: TestDescriptor) => descriptor.digest as Digest;
export const tag = (text: string) => text as Tag;
