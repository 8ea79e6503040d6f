/** Every command: its arguments, its options, and what runs it. */
import type { Log } from '../log.js';
import { clean, init, verify } from './care.js';
import { remove, rollback, untag } from './change.js';
import type { CommandContext, ExitCode } from './context.js';
import { config, history } from './look.js';
import type { ProgressOutput } from './progress-line.js';
import { publishByHand } from './publish.js';
import { type Process, runDaemon, serveRegistry } from './run.js';
import { status } from './status.js';

/** A command's arguments in their order; the last may be a list. */
export type Given = readonly (string | readonly string[] | undefined)[];

function text(given: Given[number]): string | undefined {
  return given === undefined ? undefined : String(given);
}

export type CommandRun = (
  context: CommandContext,
  log: Log,
  given: Given,
  options: Readonly<Record<string, unknown>>,
  again: Pick<Process, 'readSettings' | 'reopenLog'>,
) => Promise<ExitCode> | ExitCode;

/** What commands use of the process they run in. */
export interface Surroundings {
  readonly thisProcess: () => Omit<Process, 'readSettings' | 'reopenLog'>;
  readonly input: NodeJS.ReadStream;
  readonly output: NodeJS.WriteStream;
  readonly progress: ProgressOutput;
}

interface Options {
  option(flags: string, description: string): Options;
}

export function defineCommands(
  command: (spec: string, description: string, run: CommandRun) => Options,
  { thisProcess, input, output, progress }: Surroundings,
): void {
  command('run', 'the daemon', (context, log, _given, { welcome }, again) =>
    runDaemon(context, log, { welcome: welcome === true, ...thisProcess(), ...again }),
  ).option('--welcome', 'say where to drop, with an example to paste');
  command('serve', 'the registry endpoint alone; reads only', (context, log, ...[, , again]) =>
    serveRegistry(context, log, { ...thisProcess(), ...again }),
  ).option('--target <name>', 'what is read, instead of registry.target');
  command(
    'publish <path>',
    'publish an image or archive (- for standard input) now; it stays where it is',
    (context, log, given, options) =>
      publishByHand(context, log, {
        path: String(given[0]),
        as: options.as as string | undefined,
        input,
        progress,
      }),
  ).option('--as <ref>', '<repository>[:<tag>] (default: the last part of the path)');
  command(
    'status [repository]',
    'what is published, what waits and why, what runs',
    (context, _log, [repository], { watch }) =>
      status(context, {
        repository: text(repository),
        watch: watch === true,
        isTerminal: output.isTTY === true,
      }),
  ).option('--watch', 'again every second');
  command('history <repository>', 'which snapshots were current, and why', (context, _log, given) =>
    history(context, String(given[0])),
  );
  command(
    'rollback <repository> [timestamp]',
    'make an earlier snapshot the truth again (default: the one before)',
    (context, log, given) => rollback(context, log, String(given[0]), text(given[1])),
  );
  command('untag <repository> <tags...>', 'take tags away', (context, log, [repository, tags]) =>
    untag(context, log, String(repository), tags as string[]),
  );
  command('remove <repository>', 'take a repository away', (context, log, [repository]) =>
    remove(context, log, String(repository)),
  );
  command(
    'verify [repository]',
    'read and check everything again',
    (context, log, given, options) =>
      verify(context, log, { repository: text(given[0]), repair: options.repair === true }),
  ).option('--repair', 'put right what can be put right');
  command('clean', 'remove stale snapshots and unused content', (context, log, _given, options) =>
    clean(context, log, { dryRun: options.dryRun === true }),
  ).option('--dry-run', 'only say what would go, and what keeps the rest');
  command('config', 'the effective settings and where each came from', (context) =>
    config(context),
  );
  command('init', 'make the directories', (context) => init(context));
}
