/** Changes by hand on a store: rollback, untag, remove. Each is a publish like any other. */
import { DropdockError } from '../errors.js';
import type { Edit } from '../publish/edit.js';
import type { Timestamp } from '../snapshot/timestamp.js';
import type { SnapshotText } from './build.js';
import { type Current, readSnapshotText } from './current.js';
import { changeStore, type StoreResult, type StoreTurn } from './publish.js';

export interface StoreEdit extends StoreResult {
  /** The snapshot that was rolled back to. */
  readonly to: Timestamp | undefined;
}

/** @throws repository.unknown, snapshot.unknown, tag.unknown, and what keeps a publish from its flip */
export async function editStore(turn: StoreTurn, edit: Edit): Promise<StoreEdit> {
  let restored: SnapshotText | undefined;
  const result = await changeStore(turn, async (current) => {
    if (edit.kind === 'rollback' && current !== undefined) {
      restored = await findEarlier(turn, current, edit.to);
    }
    return { edit, restored };
  });
  return { ...result, to: restored?.snapshot };
}

/** What was current before, as far as it is still kept; a removal is passed over. */
async function findEarlier(
  { context, policy }: StoreTurn,
  { pointer }: Current,
  to: Timestamp | undefined,
): Promise<SnapshotText> {
  const earlier = [...pointer.history]
    .reverse()
    .filter(({ snapshot, why }) => snapshot !== pointer.snapshot && why !== 'remove')
    .map(({ snapshot }) => snapshot);
  for (const snapshot of to === undefined ? new Set(earlier) : [to]) {
    const text = await readSnapshotText(context.store, policy.id, snapshot);
    if (text !== undefined) return { snapshot, text };
  }
  const { target } = context.store;
  throw new DropdockError(
    'snapshot.unknown',
    to === undefined
      ? `${policy.repository} has no earlier snapshot in the target ${target} to go back to.`
      : `${policy.repository} has no snapshot ${to} in the target ${target}.`,
    { path: to ?? policy.id },
  );
}
