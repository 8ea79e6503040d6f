/** Every command: its arguments, its options, and what runs it. */
import type { Log } from '../log.js';
import { type Changed, remove, rollback, untag } from './change.js';
import { clean } from './clean.js';
import type { CommandContext, ExitCode } from './command-context.js';
import { copy } from './copy.js';
import { config, history } from './history.js';
import type { ProgressOutput } from './progress-line.js';
import { publishByHand } from './publish.js';
import { type Process, runDaemon, serveRegistry } from './run.js';
import { status } from './status.js';
import { init, verify } from './verify.js';

/** A command's arguments in their order; the last may be a list. */
export type Given = readonly (string | readonly string[] | undefined)[];

/** Of an argument or an option that may be left out. */
function text(given: unknown): string | undefined {
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

type DefineCommand = (spec: string, description: string, run: CommandRun) => Options;

export function defineCommands(
  command: DefineCommand,
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
    (context, _log, [name], { watch, target }) =>
      status(context, {
        repository: text(name),
        target: text(target),
        watch: watch === true,
        isTerminal: output.isTTY === true,
      }),
  )
    .option('--watch', 'again every second')
    .option(...TARGET);
  command(
    'history <repository>',
    'which snapshots were current, and why',
    (context, _log, given, { target }) =>
      history(context, { repository: String(given[0]), target: text(target) }),
  ).option(...TARGET);
  defineChanges(command, progress);
  command('config', 'the effective settings and where each came from', (context) =>
    config(context),
  );
  command('init', 'make the directories', (context) => init(context));
}

const TARGET = ['--target <name>', 'there only (default: everywhere it is published to)'] as const;

function defineChanges(command: DefineCommand, progress: ProgressOutput): void {
  command(
    'rollback <repository> [timestamp]',
    'make an earlier snapshot the truth again (default: the one before)',
    (context, log, given, options) =>
      rollback(context, log, changed(given[0], options), text(given[1])),
  ).option(...TARGET);
  command(
    'untag <repository> <tags...>',
    'take tags away',
    (context, log, [repository, tags], options) =>
      untag(context, log, changed(repository, options), tags as string[]),
  ).option(...TARGET);
  command('remove <repository>', 'take a repository away', (context, log, given, options) =>
    remove(context, log, changed(given[0], options)),
  ).option(...TARGET);
  command(
    'verify [repository]',
    'read and check everything again',
    (context, log, given, { repair, target }) =>
      verify(context, log, {
        repository: text(given[0]),
        target: text(target),
        repair: repair === true,
      }),
  )
    .option('--repair', 'put right what can be put right')
    .option('--target <name>', 'what is current in this store (default: the directory)');
  command('clean', 'remove stale snapshots and unused content', (context, log, _given, options) =>
    clean(context, log, {
      dryRun: options.dryRun === true,
      target: text(options.target),
    }),
  )
    .option('--dry-run', 'only say what would go, and what keeps the rest')
    .option('--target <name>', 'there only (default: all)');
  command(
    'copy [repositories...]',
    'make repositories in one target what they are in another',
    (context, log, [repositories], { from, to }) =>
      copy(context, log, {
        from: text(from),
        to: text(to),
        repositories: repositories as string[],
        progress,
      }),
  )
    .option('--from <target>', 'where they are right')
    .option('--to <target>', 'where they are to be the same');
}

function changed(
  repository: Given[number],
  { target }: Readonly<Record<string, unknown>>,
): Changed {
  return { repository: String(repository), target: text(target) };
}
