/**
 * Changes an operator makes by hand: rollback, untag, remove; and what a cleaning makes of a snapshot
 * that carries content past its grace period, which only a new snapshot is rid of. Each is a publish like any other (the
 * same lock, checks, order and one flip), only what the repository is to become is not from a drop.
 *
 * A rollback does not flip back to the old directory but makes a new snapshot of its state: the old
 * one lacks what was published since, so pulls of that under way would be cut off (I9), and names
 * would no longer grow (I7). A removal is a snapshot too, with nothing in it but what pulls under way
 * may ask for; when the grace period is over, the cleaning takes it away.
 */
import type { TagMove } from '../snapshot/merge.js';
import type { Timestamp } from '../snapshot/timestamp.js';
import type { Opened } from './jobs.js';
import type { RepositoryPolicy } from './next-snapshot.js';
import {
  cleanAfter,
  commit,
  type Open,
  type PublishContext,
  type TurnResult,
  withTurn,
} from './turn.js';

export type Edit =
  /** `to` undefined: whatever was current before. */
  | { readonly kind: 'rollback'; readonly to: Timestamp | undefined }
  | { readonly kind: 'untag'; readonly tags: readonly string[] }
  | { readonly kind: 'remove' };

export type Change =
  | Edit
  /** Nothing that anybody sees, only what was carried on long enough is left out. */
  | { readonly kind: 'clean' };

export interface EditResult extends TurnResult {
  /** Null when nothing changed. */
  readonly snapshot: Timestamp | null;
  readonly base: Timestamp | null;
  readonly moves: readonly TagMove[];
  /** The snapshot that was rolled back to. */
  readonly to: Timestamp | undefined;
  readonly removed: readonly Timestamp[];
}

/**
 * @throws repository.unknown, snapshot.unknown, tag.unknown, lock.busy, and what keeps a publish from
 *   its flip; then nothing has changed
 */
export function editRepository(
  context: PublishContext,
  policy: RepositoryPolicy,
  edit: Change,
): Promise<EditResult> {
  const open: Open<Opened> = (request) => context.run('openTurn', request);
  return withTurn(context, policy, [], open, async (turn) => {
    const { transaction, base } = turn;
    const { roots, run, nowMs, clock } = context;
    const request = { roots, policy, transaction, base, nowMs: nowMs(), clock: clock(), edit };
    const { snapshot, reason, moves, to } = await run('buildEdit', request);
    if (snapshot !== null) {
      const unsynced = await commit(turn, snapshot, reason);
      // It is done, so it is not reported as failed: a rollback made again would lead back.
      if (unsynced) turn.later.push(unsynced);
    }
    return { snapshot, base, moves, to, removed: await cleanAfter(turn) };
  });
}
