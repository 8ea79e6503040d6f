/** The hidden command `complete`: prints values for the completions of shells, one on each line. */
import { isRepositoryName } from '../image/names.js';
import {
  type CommandContext,
  EXIT,
  type ExitCode,
  idOf,
  nameOf,
  readTarget,
} from './command-context.js';

export interface Wanted {
  /** Anything else than these gives nothing: `repositories`, `tags`, `snapshots`, `targets`. */
  readonly what: string;
  /** For tags and snapshots. */
  readonly repository: string | undefined;
  readonly target: string | undefined;
}

/** Prints nothing instead of an error: a completion must not write into the line that a user types. */
export async function complete(context: CommandContext, wanted: Wanted): Promise<ExitCode> {
  try {
    for (const value of await valuesOf(context, wanted)) context.print(`${value}\n`);
  } catch {
    // No values.
  }
  return EXIT.done;
}

async function valuesOf(
  context: CommandContext,
  { what, repository, target }: Wanted,
): Promise<readonly string[]> {
  if (what === 'targets') return ['local', ...Object.keys(context.settings.targets)];
  return readTarget(context, target, async (each) => {
    if (what === 'repositories') {
      return (await each.repositories()).map((id) => nameOf(context, id));
    }
    if (repository === undefined || !isRepositoryName(repository)) return [];
    const id = idOf(context, repository);
    if (what === 'tags') return [...((await each.current(id))?.tags.keys() ?? [])];
    if (what !== 'snapshots') return [];
    return (await each.history(id)).filter(({ kept }) => kept).map(({ snapshot }) => snapshot);
  });
}
