/**
 * What the history records of a flip in addition to its reason: who made it, and the tags it changed. It is no
 * part of the snapshot, so published files do not depend on it. Pure.
 */
import type { TagMove } from './merge.js';
import type { Change } from './next-state.js';
import type { SnapshotReason } from './snapshot-file.js';

/** Absent in records of earlier versions, and in those that were restored after a crash. */
export interface FlipDetails {
  /** The owners of the drops, or the user who ran the command; each once. */
  readonly by?: readonly string[];
  readonly tags?: ChangedTags;
}

/** Kinds without a tag are absent. */
export type ChangedTags = Readonly<Partial<Record<'added' | 'moved' | 'removed', SomeTags>>>;

export interface SomeTags {
  /** The first TAGS_MAX of them, sorted. */
  readonly names: readonly string[];
  readonly count: number;
}

/** The history is read often, and a publish may change 50,000 tags. */
const TAGS_MAX = 5;
const USERS_MAX = 10;

/**
 * @param reason of the new snapshot: names the drops that are in it
 * @param moves the tags that differ from the previous snapshot
 */
export function flipDetails(
  change: Change,
  reason: SnapshotReason,
  moves: readonly TagMove[],
): FlipDetails {
  const by = usersOf(change, reason);
  return { ...(by.length > 0 && { by }), tags: changedTags(moves) };
}

function usersOf(change: Change, { drops }: SnapshotReason): string[] {
  if (change.kind === 'expire') return [];
  if (change.kind !== 'publish') return change.by === undefined ? [] : [change.by];
  const published = new Set(drops.map(({ drop, at }) => `${at} ${drop}`));
  const users = change.drops
    .filter(({ origin }) => published.has(`${origin.at} ${origin.drop}`))
    .flatMap(({ by }) => by ?? []);
  return [...new Set(users)].slice(0, USERS_MAX);
}

/** Returns for example `added 1.0, 1.1; moved latest`; empty when no tag changed. */
export function describeTags(tags: ChangedTags): string {
  return (['added', 'moved', 'removed'] as const)
    .flatMap((kind) => {
      const some = tags[kind];
      return some ? [`${kind} ${shortList(some.names, some.count)}`] : [];
    })
    .join('; ');
}

/** @param count the number of all items, of which some are shown */
export function shortList(shown: readonly string[], count: number): string {
  const rest = count - shown.length;
  return `${shown.join(', ')}${rest > 0 ? ` and ${rest} more` : ''}`;
}

/** @param moves sorted by tag */
export function changedTags(moves: readonly TagMove[]): ChangedTags {
  const some = (kind: string, of: readonly TagMove[]) => {
    if (of.length === 0) return {};
    const names = of.slice(0, TAGS_MAX).map(({ tag }) => tag);
    return { [kind]: { names, count: of.length } };
  };
  return {
    ...some(
      'added',
      moves.filter(({ from, to }) => from === null && to !== null),
    ),
    ...some(
      'moved',
      moves.filter(({ from, to }) => from !== null && to !== null),
    ),
    ...some(
      'removed',
      moves.filter(({ to }) => to === null),
    ),
  };
}
