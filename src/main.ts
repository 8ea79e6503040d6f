#!/usr/bin/env node
/** Arguments, environment, signals, exit codes: the only file that reads `process` or ends it. */
import { existsSync, fstatSync, readFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command, CommanderError } from 'commander';
import { becomeOwner, explainDenied } from './cli/as-owner.js';
import { CHECKOUT_ORIGIN, findCheckoutTree } from './cli/checkout-tree.js';
import { type CommandContext, EXIT, type ExitCode } from './cli/command-context.js';
import { commandLineOf, programName } from './cli/command-line.js';
import { type CommandRun, defineCommands, type Given } from './cli/commands.js';
import { EXAMPLES, EXIT_CODES, helpSection } from './cli/examples.js';
import { openLogOutput } from './cli/log-output.js';
import { printError } from './cli/print-error.js';
import type { Process } from './cli/run.js';
import { whoRuns } from './cli/who-runs.js';
import { managerAddress } from './daemon/systemd.js';
import { DropdockError, faultOf } from './errors.js';
import type { Log } from './log.js';
import { type LoadedSettings, loadSettings, type SettingsSources } from './settings/settings.js';

const FLUSH_MS_MAX = 1000;
const DEFAULT_CONFIG = '/etc/dropdock/dropdock.yaml';

/** Options allowed before or after the command; `target` belongs to `serve`. */
interface GlobalOptions {
  readonly root?: string;
  readonly config?: string;
  readonly json?: boolean;
  readonly target?: string | undefined;
}

/**
 * Only for long-running commands; a signal ends the others at once. The handlers must be installed before
 * a lock is taken: otherwise proper-lockfile's own handler ends the process in the middle of a publish.
 */
function thisProcess(): Omit<Process, 'readSettings' | 'reopenLog'> {
  const reloads: (() => void)[] = [];
  process.on('SIGHUP', () => {
    for (const reload of reloads) reload();
  });
  return {
    stopRequested: new Promise((resolve) => {
      for (const signal of ['SIGTERM', 'SIGINT'] as const) {
        process.on(signal, () => resolve(signal));
      }
    }),
    onReload: (reload) => void reloads.push(reload),
    inheritedSockets: inheritedSockets(),
    manager: managerAddress(process.env),
    environment: process.env,
    version: packageVersion(),
    sample: sampleImage(),
  };
}

/** Part of a checkout and of the npm package. */
function sampleImage(): string | undefined {
  const path = join(packageDirectory(), 'config', 'hello');
  return existsSync(path) ? path : undefined;
}

/** True if standard output is the journal: JOURNAL_STREAM has its device and inode (systemd.exec(5)). */
function isJournal(): boolean {
  try {
    const { dev, ino } = fstatSync(1);
    return process.env.JOURNAL_STREAM === `${dev}:${ino}`;
  } catch {
    return false;
  }
}

/** Returns whether the reader of the stream has closed its end; standard streams do not record it. */
function noticeClosing(stream: NodeJS.WriteStream): () => boolean {
  let isClosed = false;
  stream.on('error', () => {
    isClosed = true;
  });
  return () => isClosed;
}

/** sd_listen_fds(3): systemd's sockets start at descriptor 3; LISTEN_PID names the process they are for. */
function inheritedSockets(): number[] {
  const { LISTEN_PID, LISTEN_FDS } = process.env;
  if (LISTEN_PID !== String(process.pid)) return [];
  return Array.from({ length: Number(LISTEN_FDS) || 0 }, (_none, at) => 3 + at);
}

// Publishing goes on when the reader of the output has closed its end.
const isOutputGone = noticeClosing(process.stdout);
process.stderr.on('error', () => {});
// The AWS SDK warns about Node versions that its future versions need; users can do nothing about it.
process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED = 'true';

process.exitCode = await main(process.argv);
// Threads that are ending and the watcher's sockets must not keep the process alive.
if (process.exitCode !== 0 || ['run', 'serve'].some((name) => process.argv.includes(name))) {
  // A stalled reader of the output must not keep it alive either.
  await new Promise((resolve) => {
    setTimeout(resolve, FLUSH_MS_MAX);
    process.stdout.write('', resolve);
  });
  process.exit();
}

async function main(argv: string[]): Promise<ExitCode> {
  let exitCode: ExitCode = EXIT.done;
  const program = new Command('dropdock')
    .description('Publish container images from an inbox directory.')
    .version(packageVersion())
    .option('--root <dir>', 'use the directories inbox, published and state below this one')
    .option('--config <file>', `settings file (default: ${DEFAULT_CONFIG} if it exists)`)
    .option('--json', 'print the result as JSON')
    .configureHelp({ showGlobalOptions: true })
    .addHelpText('after', helpSection('Exit codes', EXIT_CODES))
    .exitOverride();

  const command = (spec: string, description: string, run: CommandRun, hidden = false) => {
    const added = program.command(spec, { hidden }).description(description);
    const examples = EXAMPLES[added.name()];
    if (examples) added.addHelpText('after', helpSection('Examples', examples));
    return added.action(async (...given: unknown[]) => {
      const options = added.optsWithGlobals<GlobalOptions>();
      // For other commands `--target` selects the target to work on; it is not a setting.
      const target = spec === 'serve' ? options.target : undefined;
      exitCode = await withContext({ ...options, target }, added.name(), (context, log, again) =>
        run(context, log, given.slice(0, -2) as Given, { ...options }, again),
      );
    });
  };
  defineCommands(command, {
    thisProcess,
    input: process.stdin,
    output: {
      isTerminal: process.stdout.isTTY === true,
      isGone: isOutputGone,
    },
    progress: {
      isTerminal: process.stderr.isTTY === true,
      write: (text) => void process.stderr.write(text),
    },
  });
  try {
    await program.parseAsync(argv);
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.usage;
    return printError(error, argv.includes('--json'), (text) => void process.stderr.write(text));
  }
}

async function withContext(
  options: GlobalOptions,
  command: string,
  run: (
    context: CommandContext,
    log: Log,
    again: Parameters<CommandRun>[4],
  ) => Promise<ExitCode> | ExitCode,
): Promise<ExitCode> {
  const sources = sourcesFrom(options);
  const { loaded, root } = inCheckout(command, sources);
  const print = (text: string) => void process.stdout.write(text);
  // Read before the process becomes the owner of the tree.
  const by = whoRuns(process.env, { name: () => userInfo().username, uid: process.getuid?.() });
  const uid = becomeOwner(command, loaded.settings, process);
  const program = programName(
    process.argv[1] ?? 'dropdock',
    process.cwd(),
    process.env.npm_command === 'exec',
  );
  const commandLine = commandLineOf({
    program,
    root: options.root ?? root,
    config: options.config,
  });
  const json = options.json === true;
  const context: CommandContext = { ...loaded, json, by, print, commandLine };
  const output = { mayUseFile: command === 'run', isJournal: isJournal(), print };
  const { log, close, reopen } = openLogOutput(loaded.settings.log, output);
  const hadFile = sources.file !== undefined;
  const readSettings = () => loadSettings(sourcesFrom(options, hadFile));
  endOnBug(log, close, options.json === true);
  try {
    return await run(context, log, { readSettings, reopenLog: reopen });
  } catch (error) {
    if (faultOf(error) === 'bug') {
      const { stack, message } = error as Error;
      log('error', 'daemon.failed', { message, stack });
    }
    throw explainDenied(error, {
      command,
      argv: process.argv.slice(2),
      paths: loaded.settings.paths,
      became: uid,
      uid: process.getuid?.(),
    });
  } finally {
    await close();
  }
}

/**
 * An uncaught exception or unhandled rejection is a bug, regardless of its error class. Logs it and ends the
 * process with the exit code for bugs.
 */
function endOnBug(log: Log, closeLog: () => Promise<void>, json: boolean): void {
  let isEnding = false;
  process.on('uncaughtException', (error) => {
    if (isEnding) return;
    isEnding = true;
    const { stack, message } = error;
    log('error', 'daemon.failed', { message, stack });
    printError(error, json, (text) => void process.stderr.write(text));
    const end = () => process.exit(EXIT.system);
    closeLog().then(end, end);
  });
}

/** @param hadFile true if the file existed at start: if it is missing now, that is an error, not the defaults */
function sourcesFrom(
  { root, config: named, target }: GlobalOptions,
  hadFile = named !== undefined,
): SettingsSources {
  const name = named ?? DEFAULT_CONFIG;
  const hasFile = hadFile || existsSync(name);
  let text = '';
  try {
    if (hasFile) text = readFileSync(name, 'utf8');
  } catch (error) {
    throw new DropdockError('settings.invalid', (error as Error).message, { path: name }, error);
  }
  const flags = root === undefined ? [] : treeAt(resolve(root), '--root');
  const served =
    target === undefined ? [] : [{ path: ['registry', 'target'], value: target, flag: '--target' }];
  return {
    file: hasFile ? { name, text } : undefined,
    environment: process.env,
    flags: [...flags, ...served],
  };
}

/** Returns the settings of a tree with the usual names below one directory. */
function treeAt(root: string, flag: string): SettingsSources['flags'] {
  return ['inbox', 'published', 'state'].map((part) => ({
    path: ['paths', part],
    value: join(root, part),
    flag,
  }));
}

/**
 * Loads the settings; a command in a checkout that names no tree works on that of `npm start`.
 * @returns also the root of that tree, if it is used
 */
function inCheckout(
  command: string,
  sources: SettingsSources,
): { loaded: LoadedSettings; root: string | undefined } {
  const loaded = loadSettings(sources);
  const root = findCheckoutTree(command, loaded, packageDirectory());
  if (root === undefined) return { loaded, root };
  const flags = [...sources.flags, ...treeAt(root, CHECKOUT_ORIGIN)];
  return { loaded: loadSettings({ ...sources, flags }), root };
}

function packageDirectory(): string {
  return fileURLToPath(new URL('..', import.meta.url));
}

function packageVersion(): string {
  const file = join(packageDirectory(), 'package.json');
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}
