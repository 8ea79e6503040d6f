/** The command history. */
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

/** @throws repository.unknown, usage.invalid */
export async function history(
  context: CommandContext,
  { repository, target }: Looked,
): Promise<ExitCode> {
  const id = idOf(context, repository);
  const entries = await readTarget(context, target, (each) => each.history(id));
  if (entries.length === 0) throw unknownRepository(repository);
  if (context.json) printJson(context, entries);
  else {
    const rows = entries.map(({ at, snapshot, why, detail, drops, kept, current }) => [
      at,
      snapshot,
      current ? 'current' : kept ? 'kept' : 'removed',
      why,
      detail ?? drops.map(({ drop }) => drop).join(' '),
    ]);
    context.print(formatTable([['AT', 'SNAPSHOT', 'STATE', 'WHY', 'WHAT'], ...rows]));
  }
  return EXIT.done;
}
