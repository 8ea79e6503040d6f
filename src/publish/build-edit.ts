/** Steps 3 to 8 of a change made by hand: from the current snapshot to the next one. */
import type { Disk } from '../disk/disk.js';
import { DropdockError } from '../errors.js';
import { leadsBack, removeAll, restore, untag } from '../snapshot/edit.js';
import { type TagMove, tagMoves } from '../snapshot/merge.js';
import type { RepositoryState } from '../snapshot/state.js';
import { isTimestamp, type Timestamp } from '../snapshot/timestamp.js';
import { listSnapshots, readSnapshot } from './current.js';
import type { Change } from './edit.js';
import { readHistory } from './history.js';
import { buildNext, type NextRequest, type NextSnapshot, readOwn } from './next-snapshot.js';

export interface BuildEditRequest extends NextRequest {
  readonly edit: Change;
}

export interface EditedSnapshot extends NextSnapshot {
  readonly moves: readonly TagMove[];
  readonly to: Timestamp | undefined;
}

/** @throws repository.unknown, snapshot.unknown, tag.unknown, system errors */
export function buildEdit(disk: Disk, request: BuildEditRequest): EditedSnapshot {
  const { policy, base, edit } = request;
  const stored = base === null ? undefined : readOwn(disk, request, base);
  if (stored === undefined || (stored.state.removed && edit.kind !== 'rollback')) {
    throw new DropdockError('repository.unknown', `There is no repository ${policy.repository}.`, {
      path: policy.id,
    });
  }
  const to =
    edit.kind === 'rollback' ? (edit.to ?? previous(disk, request, stored.state)) : undefined;
  const merged = changed(disk, request, stored.state, to);
  const moves = tagMoves(stored.state.tags, merged.tags);
  const detail = edit.kind === 'untag' ? edit.tags.join(' ') : to;
  const reason = { why: edit.kind, drops: [], ...(detail !== undefined && { detail }) };
  return { ...buildNext(disk, request, stored, merged, reason), moves, to };
}

function changed(
  disk: Disk,
  { roots, policy, edit }: BuildEditRequest,
  state: RepositoryState,
  to: Timestamp | undefined,
): RepositoryState {
  if (edit.kind === 'clean') return state;
  if (edit.kind === 'untag') return untag(state, edit.tags);
  if (edit.kind === 'remove' || to === undefined) return removeAll(state);
  if (!listSnapshots(disk, roots, policy.id).includes(to)) {
    throw new DropdockError(
      'snapshot.unknown',
      `${policy.repository} has no snapshot ${to} any more.`,
      { path: to },
    );
  }
  return restore(state, readOwn(disk, { roots, policy }, to).state);
}

/** What was current before, as far as it is still kept: rolling back twice leads forth again. */
function previous(
  disk: Disk,
  { roots, policy, base }: BuildEditRequest,
  current: RepositoryState,
): Timestamp {
  const kept = new Set(listSnapshots(disk, roots, policy.id).filter(isTimestamp));
  // Where the history was lost: what the current snapshot was built on.
  const builtOn = base && readSnapshot(disk, roots, policy.id, base).base;
  const flips = readHistory(disk, roots, policy.id).map(({ snapshot }) => snapshot);
  for (const name of [...flips.reverse(), builtOn as Timestamp]) {
    if (name === base || !kept.delete(name)) continue;
    const { state } = readSnapshot(disk, roots, policy.id, name);
    if (leadsBack(current, state)) return name;
  }
  throw new DropdockError(
    'snapshot.unknown',
    `${policy.repository} keeps no earlier snapshot that serves anything else.`,
    { path: policy.id },
  );
}
