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

/** What was current before, as far as it is still kept: the same as in a directory, see `leadsBack`. */
async function findEarlier(
  { context, policy }: StoreTurn,
  { pointer, base }: Current,
  to: Timestamp | undefined,
): Promise<SnapshotText> {
  const flips = [...pointer.history]
    .reverse()
    .map(({ snapshot }) => snapshot)
    .filter((snapshot) => snapshot !== pointer.snapshot);
  for (const snapshot of to === undefined ? new Set(flips) : [to]) {
    const text = await readSnapshotText(context.store, policy.id, snapshot);
    if (text === undefined) continue;
    const earlier = { snapshot, text };
    if (to !== undefined || (await context.run('isEarlier', { policy, base, earlier }))) {
      return earlier;
    }
  }
  const { target } = context.store;
  throw new DropdockError(
    'snapshot.unknown',
    to === undefined
      ? `${policy.repository} has no earlier snapshot in the target ${target} that serves anything else.`
      : `${policy.repository} has no snapshot ${to} in the target ${target}.`,
    { path: to ?? policy.id },
  );
}
