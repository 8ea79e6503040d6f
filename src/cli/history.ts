/** The commands history and config; they only read. */
import { formatDuration, isDuration } from '../settings/schema.js';
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

export function config(context: CommandContext): ExitCode {
  const { settings, origins } = context;
  if (context.json) {
    printJson(context, { settings, origins: Object.fromEntries(origins) });
    return EXIT.done;
  }
  const rows = [...origins].map(([name, origin]) => {
    const path = name.split('.');
    const value = path.reduce<unknown>((each, key) => (each as Plain)[key], settings);
    const shown = isDuration(path) ? formatDuration(Number(value)) : JSON.stringify(value);
    return [name, shown, `(${origin})`];
  });
  context.print(formatTable(rows));
  for (const [name, values] of Object.entries(settings.targets)) {
    context.print(`targets ${name}: ${JSON.stringify(values)}\n`);
  }
  for (const [pattern, values] of Object.entries(settings.repositories)) {
    context.print(`repositories ${pattern}: ${JSON.stringify(values)}\n`);
  }
  return EXIT.done;
}

type Plain = Record<string, unknown>;
