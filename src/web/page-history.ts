/** A repository's history, from the daemon's records or, in `serve`, from the snapshots alone. */
import type { RepositoryId } from '../image/names.js';
import type { SnapshotChanges } from '../repository/snapshot-changes.js';
import type { Timestamp } from '../repository/timestamp.js';
import type { DaemonView, KnownFlip } from './daemon-view.js';
import type { PageReader } from './page-reader.js';
import type { HistoryEntry } from './repository-view.js';

/** Each entry needs two large files to be read, the first time. */
const ENTRIES_MAX = 10;

export interface HistoryWanted {
  readonly id: RepositoryId;
  readonly current: Timestamp;
  /** Only this snapshot and older ones. */
  readonly before: Timestamp | undefined;
}

export async function historyOf(
  wanted: HistoryWanted,
  reader: PageReader,
  daemon: DaemonView | undefined,
): Promise<{ entries: HistoryEntry[]; older: string | undefined }> {
  const flips = (await daemon?.history(wanted.id)) ?? [];
  return flips.length > 0 ? fromFlips(flips, wanted, reader) : fromSnapshots(wanted, reader);
}

/** Each snapshot names its base, which was current before it. */
async function fromSnapshots(
  { id, current, before }: HistoryWanted,
  reader: PageReader,
): Promise<{ entries: HistoryEntry[]; older: string | undefined }> {
  // Snapshots newer than the current one were never current.
  const from = before !== undefined && before < current ? before : current;
  const chain = await reader.changes(id, from, ENTRIES_MAX);
  const entries = chain.map(({ snapshot, changes, why, detail, drops }): HistoryEntry => {
    const state = snapshot === current ? 'current' : 'kept';
    return { snapshot, at: snapshot, state, why, detail, drops, changes };
  });
  const last = chain.at(-1);
  const goesOn = chain.length === ENTRIES_MAX && last?.changes !== undefined;
  return { entries, older: (goesOn && last.base) || undefined };
}

async function fromFlips(
  flips: readonly KnownFlip[],
  { id, before }: HistoryWanted,
  reader: PageReader,
): Promise<{ entries: HistoryEntry[]; older: string | undefined }> {
  const start = Math.max(
    flips.findIndex(({ snapshot }) => snapshot === before),
    0,
  );
  const shown = flips.slice(start, start + ENTRIES_MAX);
  const newestKept = shown.find(({ kept }) => kept)?.snapshot as Timestamp | undefined;
  const chain = newestKept === undefined ? [] : await reader.changes(id, newestKept, ENTRIES_MAX);
  const bySnapshot = new Map<string, SnapshotChanges>(chain.map((each) => [each.snapshot, each]));
  const entries = shown.map((flip): HistoryEntry => {
    const { snapshot, at, why, detail, by = [], kept, current } = flip;
    const drops = flip.drops.map(({ drop }) => drop);
    const state = current ? 'current' : kept ? 'kept' : 'gone';
    const changes = bySnapshot.get(snapshot)?.changes;
    return { snapshot, at, state, why, detail, drops, by, changes };
  });
  return { entries, older: flips[start + ENTRIES_MAX]?.snapshot };
}
