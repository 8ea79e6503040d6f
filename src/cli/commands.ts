/**
 * Defines every command: its arguments, its options and the function that runs it. A command's file is
 * imported when the command runs: importing all of them took 0.1 s of each start (measured).
 */
import type { Log } from '../log.js';
import type { Changed } from './change.js';
import type { CommandContext, ExitCode } from './command-context.js';
import type { ProgressOutput } from './progress-line.js';
import type { Process } from './run.js';

/** A command's arguments, in order; the last may be a list. */
export type Given = readonly (string | readonly string[] | undefined)[];

/** For an optional argument or option. */
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

/** The parts of the process that commands use. */
export interface Surroundings {
  readonly thisProcess: () => Omit<Process, 'readSettings' | 'reopenLog'>;
  readonly input: NodeJS.ReadStream;
  /** Standard output. It is gone when its reader has closed its end. */
  readonly output: { readonly isTerminal: boolean; readonly isGone: () => boolean };
  readonly progress: ProgressOutput;
}

interface Options {
  option(flags: string, description: string): Options;
}

type DefineCommand = (
  spec: string,
  description: string,
  run: CommandRun,
  isHidden?: boolean,
) => Options;

export function defineCommands(
  command: DefineCommand,
  { thisProcess, input, output, progress }: Surroundings,
): void {
  command('run', 'run the daemon', async (context, log, _given, { welcome }, again) =>
    (await import('./run.js')).runDaemon(context, log, {
      welcome: welcome === true,
      ...thisProcess(),
      ...again,
    }),
  ).option('--welcome', 'print where to drop images, with example commands');
  command(
    'serve',
    'run only the registry endpoint (read-only)',
    async (context, log, ...[, , again]) =>
      (await import('./run.js')).serveRegistry(context, log, { ...thisProcess(), ...again }),
  ).option('--target <name>', 'target to serve (default: registry.target)');
  command(
    'publish <path>',
    'publish an image or archive now (- for standard input); the source is kept',
    async (context, log, given, options) =>
      (await import('./publish.js')).publishByHand(context, log, {
        path: String(given[0]),
        as: options.as as string | undefined,
        input,
        progress,
      }),
  ).option('--as <ref>', 'publish as <repository>[:<tag>] (default: the last part of the path)');
  command(
    'status [repository]',
    'show published repositories, waiting drops and running publishes',
    async (context, _log, [name], { watch, target }) =>
      (await import('./status.js')).status(context, {
        repository: text(name),
        target: text(target),
        watch: watch === true,
        isTerminal: output.isTerminal,
        isOutputGone: output.isGone,
      }),
  )
    .option('--watch', 'repeat every second')
    .option(...TARGET);
  command(
    'history <repository>',
    'show who changed which tags, and when',
    async (context, _log, given, { target }) =>
      (await import('./history.js')).history(context, {
        repository: String(given[0]),
        target: text(target),
      }),
  ).option(...TARGET);
  defineChanges(command, progress);
  command('config', 'show the effective settings and where each comes from', async (context) =>
    (await import('./config.js')).config(context),
  );
  command('init', 'create the directories', async (context) =>
    (await import('./init.js')).init(context),
  );
  command(
    'complete <what> [repository]',
    'print values for the completions of shells',
    async (context, _log, [what, name], { target }) =>
      (await import('./complete.js')).complete(context, {
        what: String(what),
        repository: text(name),
        target: text(target),
      }),
    true,
  ).option(...TARGET);
}

const TARGET = [
  '--target <name>',
  'only this target (default: all targets of the repository)',
] as const;

function defineChanges(command: DefineCommand, progress: ProgressOutput): void {
  command(
    'rollback <repository> [timestamp]',
    'restore the state of an earlier snapshot (default: the previous one)',
    async (context, log, given, options) =>
      (await import('./change.js')).rollback(
        context,
        log,
        changed(given[0], options),
        text(given[1]),
      ),
  ).option(...TARGET);
  command(
    'untag <repository> <tags...>',
    'remove tags',
    async (context, log, [repository, tags], options) =>
      (await import('./change.js')).untag(
        context,
        log,
        changed(repository, options),
        tags as string[],
      ),
  ).option(...TARGET);
  command('remove <repository>', 'remove a repository', async (context, log, given, options) =>
    (await import('./change.js')).remove(context, log, changed(given[0], options)),
  ).option(...TARGET);
  command(
    'verify [repository]',
    'check all published files and digests',
    async (context, log, given, { repair, target }) =>
      (await import('./verify.js')).verify(context, log, {
        repository: text(given[0]),
        target: text(target),
        repair: repair === true,
      }),
  )
    .option('--repair', 'repair what can be repaired')
    .option(
      '--target <name>',
      'check the current snapshots of this target (default: the directory)',
    );
  command(
    'clean',
    'remove stale snapshots and unused content',
    async (context, log, _given, options) =>
      (await import('./clean.js')).clean(context, log, {
        dryRun: options.dryRun === true,
        target: text(options.target),
      }),
  )
    .option('--dry-run', 'only print what would be removed, and why the rest is kept')
    .option('--target <name>', 'only this target (default: all)');
  command(
    'copy [repositories...]',
    'copy repositories from one target to another (default: all)',
    async (context, log, [repositories], { from, to }) =>
      (await import('./copy.js')).copy(context, log, {
        from: text(from),
        to: text(to),
        repositories: repositories as string[],
        progress,
      }),
  )
    .option('--from <target>', 'target to copy from')
    .option('--to <target>', 'target to copy to');
}

function changed(
  repository: Given[number],
  { target }: Readonly<Record<string, unknown>>,
): Changed {
  return { repository: String(repository), target: text(target) };
}
