/** The command history. */
import type { HistoryEntry } from '../publisher/target.js';
import { describeTags, shortList } from '../repository/flip-details.js';
import {
  type CommandContext,
  EXIT,
  type ExitCode,
  formatTable,
  idOf,
  printJson,
  readTarget,
  unknownRepository,
} from './command-context.js';

export interface Looked {
  readonly repository: string;
  readonly target: string | undefined;
}

const HEADER = ['AT', 'SNAPSHOT', 'STATE', 'WHY', 'BY', 'FROM', 'TAGS'];
/** A snapshot may be made of hundreds of drops. */
const DROPS_SHOWN = 3;

/** @throws repository.unknown, usage.invalid */
export async function history(
  context: CommandContext,
  { repository, target }: Looked,
): Promise<ExitCode> {
  const id = idOf(context, repository);
  const entries = await readTarget(context, target, (each) => each.history(id));
  if (entries.length === 0) throw unknownRepository(context, repository, target);
  if (context.json) printJson(context, entries);
  else context.print(formatTable([HEADER, ...entries.map(historyRow)]));
  return EXIT.done;
}

/** The columns as text; `-` for what is not recorded. */
export function historyRow(entry: HistoryEntry): string[] {
  const { at, snapshot, why, detail, drops, by = [], tags, kept, current } = entry;
  const state = current ? 'current' : kept ? 'kept' : 'removed';
  const names = drops.map(({ drop }) => drop);
  const isUntag = why === 'untag';
  const from = isUntag ? '' : (detail ?? shortList(names.slice(0, DROPS_SHOWN), names.length));
  // Old records have no tags, but that of an untag has them as its detail.
  const changed = tags ? describeTags(tags) : isUntag ? `removed ${detail}` : '';
  return [at, snapshot, state, why, by.join(','), from, changed].map((cell) => cell || '-');
}
