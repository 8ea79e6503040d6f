/** `.snapshot.json` made of the last one: only the lines that changed are written anew. Pure. */
import { changeLines, type LinedText, type Lines, linedText } from './lines.js';
import {
  type SnapshotHeader,
  snapshotLine,
  snapshotScalars,
  TABLES,
  type Table,
  tableTexts,
} from './snapshot-file.js';
import type { RepositoryState } from './state.js';
import type { StateChange } from './state-change.js';

/**
 * @param last the tables of the text that `change` leads away from
 * @returns what `serialiseSnapshot` makes of the same
 */
export function nextSnapshotText(
  last: ReadonlyMap<string, Lines>,
  state: RepositoryState,
  header: SnapshotHeader,
  change: StateChange,
): LinedText {
  const text: Readonly<Record<Table, (key: never) => string | undefined>> = tableTexts(
    state,
    change.blobs,
  );
  return linedText([
    ...snapshotScalars(state, header).map(([key, value]) => ({ key, value })),
    ...TABLES.map((key) => {
      const lines = last.get(key) ?? [];
      const changes = new Map<string, string | null>();
      for (const each of change[key].keys()) {
        const value = text[key](each as never);
        changes.set(each, value === undefined ? null : snapshotLine(each, value));
      }
      return { key, isList: false, lines: changeLines(lines, changes) };
    }),
  ]);
}
