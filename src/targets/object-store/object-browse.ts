/** Snapshots in an object store, as shown on the web page and by commands. */

import type { Browse, ServedSnapshot } from '../../registry/source.js';
import { describeChanges, type SnapshotChanges } from '../../repository/snapshot-changes.js';
import type { SnapshotTags, StoredSnapshot } from '../../repository/snapshot-file.js';
import { factsOf, summarise } from '../../repository/summary.js';
import { isTimestamp, type Timestamp } from '../../repository/timestamp.js';

/** Undefined for a deleted snapshot. */
type Read = (of: ServedSnapshot['of']) => Promise<StoredSnapshot | undefined>;

export function browseObjects(read: Read): Browse {
  const made = async <T>(of: ServedSnapshot['of'], make: (stored: StoredSnapshot) => T) => {
    const stored = await read(of);
    return stored && make(stored);
  };
  return {
    facts: (of) => made(of, factsOf),
    summary: (of) => made(of, summarise),
    changes: (of, count) => changesFrom(of, count, read),
  };
}

async function changesFrom(
  { id, name }: ServedSnapshot['of'],
  count: number,
  read: Read,
): Promise<SnapshotChanges[]> {
  const found: SnapshotChanges[] = [];
  let shown = await read({ id, name });
  let snapshot = name;
  while (shown !== undefined && found.length < count) {
    const base = baseOf(shown);
    const before = base && (await read({ id, name: base }));
    found.push(describeChanges(snapshot, tagsOf(shown), before && tagsOf(before)));
    if (base === undefined) break;
    [snapshot, shown] = [base, before];
  }
  return found;
}

function baseOf({ base }: StoredSnapshot): Timestamp | undefined {
  return base !== null && isTimestamp(base) ? base : undefined;
}

function tagsOf({ base, reason, state }: StoredSnapshot): SnapshotTags {
  return { base, reason, tags: state.tags };
}
