/** What every command gets: the settings and the output. Also helpers that several commands use. */
import { resolve } from 'node:path';
import { Targets, targetNamed } from '../daemon/targets.js';
import { DropdockError } from '../errors.js';
import { defaultRepositoryId, parseRepositoryName, type RepositoryId } from '../image/names.js';
import { Events } from '../publisher/events.js';
import type { CopyEnd, TargetReader } from '../publisher/target.js';
import { resolveRepository, resolveRepositoryById } from '../settings/repository-policy.js';
import type { LoadedSettings } from '../settings/settings.js';
import { shownTarget } from '../settings/target-settings.js';
import { readClock } from '../storage/clock.js';
import { nodeDisk } from '../storage/disk.js';
import type { RunJob } from '../storage/job.js';
import { TransactionNames } from '../storage/transaction.js';
import type { TreeRoots } from '../storage/tree-paths.js';
import type { CommandLine } from './command-line.js';

/** Exit codes. */
export const EXIT = { done: 0, refused: 1, usage: 2, system: 3, busy: 75 } as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** Returns the exit code for these errors: `busy` if all of them are a lock held by another process. */
export function exitOf(errors: readonly Error[]): ExitCode {
  if (errors.length === 0) return EXIT.done;
  const isBusy = (error: Error) => error instanceof DropdockError && error.code === 'lock.busy';
  return errors.every(isBusy) ? EXIT.busy : EXIT.system;
}

export interface CommandContext extends LoadedSettings {
  readonly json: boolean;
  /** The user who runs the command, for the history; undefined if unknown. */
  readonly by?: string | undefined;
  /** Writes to standard output. */
  readonly print: (text: string) => void;
  /** Writes a command to paste: with the program, --root and --config of this command. */
  readonly commandLine: CommandLine;
}

export function rootsOf({ settings }: CommandContext): TreeRoots {
  return { published: resolve(settings.paths.published), state: resolve(settings.paths.state) };
}

/** Runs a job in this thread. For commands that only read: the process has nothing else to do meanwhile. */
export const runHere: RunJob = (job, request) =>
  Promise.resolve(request).then((given) => job(nodeDisk, given) as Awaited<ReturnType<typeof job>>);

/** Returns the id of the repository with this name. @throws usage.invalid */
export function idOf({ settings }: CommandContext, repository: string): RepositoryId {
  try {
    return resolveRepository(settings, parseRepositoryName(repository)).id;
  } catch (error) {
    throw new DropdockError('usage.invalid', (error as Error).message, {}, error);
  }
}

/** Returns the name of the repository with this id, for messages. */
export function nameOf({ settings }: Pick<CommandContext, 'settings'>, id: RepositoryId): string {
  return resolveRepositoryById(settings, id).repository;
}

/**
 * Opens a target for a command that only reads: creates no files and starts no thread.
 * @param name undefined: the directory
 * @throws usage.invalid if the settings have no target with this name
 */
export async function readTarget<T>(
  context: CommandContext,
  name: string | undefined,
  work: (target: TargetReader & Pick<CopyEnd, 'currentText'>) => Promise<T>,
): Promise<T> {
  const nowMs = () => Date.now();
  const targets = new Targets(() => context.settings, {
    roots: rootsOf(context),
    run: runHere,
    nowMs,
    monotonicMs: () => performance.now(),
    clock: readClock,
    events: new Events(),
    // A reader needs no process id of the tree, and does not check whether other processes live.
    owner: { token: 'reader' },
    owners: { isDead: () => false },
    transactions: new TransactionNames('reader', nowMs),
  });
  try {
    return await work(targets.get(targetNamed(context.settings, name)));
  } finally {
    await targets.close();
  }
}

/** @param target undefined: the directory */
export function unknownRepository(
  context: CommandContext,
  repository: string,
  target?: string,
): DropdockError {
  const id = defaultRepositoryId(parseRepositoryName(repository));
  const shown = target === undefined ? undefined : shownTarget(target);
  const where = shown === undefined ? rootsOf(context).published : `the target ${shown}`;
  const message = `There is no repository "${repository}" in ${where}.`;
  return new DropdockError('repository.unknown', message, { path: id });
}

export function printJson({ print }: CommandContext, value: unknown): void {
  print(`${JSON.stringify(value, undefined, 2)}\n`);
}

/** Returns the rows as text: each column as wide as its widest cell, two spaces between columns. */
export function formatTable(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [at, cell] of row.entries()) widths[at] = Math.max(widths[at] ?? 0, cell.length);
  }
  return rows
    .map(
      (row) =>
        `${row
          .map((cell, at) => cell.padEnd(widths[at] ?? 0))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('');
}
