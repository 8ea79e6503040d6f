/** The command config: prints each setting and where it comes from. */
import { formatDuration, isDuration } from '../settings/schema.js';
import {
  type CommandContext,
  EXIT,
  type ExitCode,
  formatTable,
  printJson,
} from './command-context.js';

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
