/** Drops, staged and stored here, into one repository of an object store. */
import { fromPlainError } from '../errors.js';
import type { LeftOut, StagedContent } from '../image/staged-content.js';
import type { TagMove } from '../snapshot/merge.js';
import type { Origin } from '../snapshot/state.js';
import type { Timestamp } from '../snapshot/timestamp.js';
import type { Current } from './current.js';
import type { PointerFlip } from './pointer.js';
import { changeStore, type StoreTurn } from './publish.js';

export interface StagedDrop {
  readonly content: StagedContent;
  readonly origin: Origin;
}

export type StoreOutcome =
  | {
      readonly status: 'published' | 'unchanged';
      readonly snapshot: Timestamp | null;
      readonly base: Timestamp | null;
      readonly moves: readonly TagMove[];
      readonly leftOut: readonly LeftOut[];
    }
  | { readonly status: 'rejected'; readonly error: Error };

export interface StorePublish {
  /** In the order of the drops. */
  readonly outcomes: readonly StoreOutcome[];
  readonly races: number;
  readonly later: readonly Error[];
}

/** @throws what keeps a publish from its flip: try all drops again */
export async function publishDrops(
  turn: StoreTurn,
  drops: readonly StagedDrop[],
): Promise<StorePublish> {
  let before: readonly (PointerFlip | undefined)[] = [];
  const isNew = (_drop: StagedDrop, at: number) => before[at] === undefined;
  const result = await changeStore(turn, (current) => {
    before = drops.map(({ origin }) => publishedBefore(current, origin));
    return { drops: drops.filter(isNew) };
  });
  const { races, later } = result;
  const merged = [...result.outcomes];
  const outcomes = drops.map(({ content }, at): StoreOutcome => {
    const flip = before[at];
    if (flip !== undefined) {
      // An earlier try; what was done since (a rollback, an untag) is not undone by a second one.
      return { ...PUBLISHED, snapshot: flip.snapshot };
    }
    const outcome = merged.shift();
    if (!outcome?.ok) {
      const error = outcome ? fromPlainError(outcome.error) : new Error('no outcome');
      return { status: 'rejected', error };
    }
    const digests = new Set<string>(content.manifests.map(({ digest }) => digest));
    return {
      status: result.changed ? 'published' : 'unchanged',
      snapshot: result.snapshot,
      base: result.base,
      moves: outcome.moves,
      leftOut: result.leftOut.filter(({ what }) => digests.has(what)),
    };
  });
  return { outcomes, races, later };
}

const PUBLISHED = { status: 'published', base: null, moves: [], leftOut: [] } as const;

/** The flip that published it, as far as the pointer remembers. */
function publishedBefore(
  current: Current | undefined,
  { drop, at }: Origin,
): PointerFlip | undefined {
  return current?.pointer.history.find(({ drops }) =>
    drops.some((known) => known.drop === drop && known.at === at),
  );
}
