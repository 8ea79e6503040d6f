/** What every command gets: its settings, and where to write. */
import { resolve } from 'node:path';
import { Targets, targetNamed } from '../daemon/targets.js';
import { DropdockError } from '../errors.js';
import { defaultRepositoryId, parseRepositoryName, type RepositoryId } from '../image/names.js';
import { Events } from '../publisher/events.js';
import type { TargetReader } from '../publisher/target.js';
import { resolveRepository } from '../settings/repository-policy.js';
import type { LoadedSettings } from '../settings/settings.js';
import { readClock } from '../storage/clock.js';
import { nodeDisk } from '../storage/disk.js';
import type { RunJob } from '../storage/job.js';
import { TransactionNames } from '../storage/transaction.js';
import type { TreeRoots } from '../storage/tree-paths.js';

/** design.md 8. */
export const EXIT = { done: 0, refused: 1, usage: 2, system: 3, busy: 75 } as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** Of what could not be done: by whoever is busy with it, or for another reason. */
export function exitOf(errors: readonly Error[]): ExitCode {
  if (errors.length === 0) return EXIT.done;
  const isBusy = (error: Error) => error instanceof DropdockError && error.code === 'lock.busy';
  return errors.every(isBusy) ? EXIT.busy : EXIT.system;
}

export interface CommandContext extends LoadedSettings {
  readonly json: boolean;
  /** Writes to standard output. */
  readonly print: (text: string) => void;
}

export function rootsOf({ settings }: CommandContext): TreeRoots {
  return { published: resolve(settings.paths.published), state: resolve(settings.paths.state) };
}

/** Commands that only read need no threads: the process does nothing else meanwhile. */
export const runHere: RunJob = (job, request) =>
  Promise.resolve(request).then((given) => job(nodeDisk, given) as Awaited<ReturnType<typeof job>>);

/** The id of a repository a person named. @throws name.invalid as a usage error */
export function idOf({ settings }: CommandContext, repository: string): RepositoryId {
  try {
    return resolveRepository(settings, parseRepositoryName(repository)).id;
  } catch (error) {
    throw new DropdockError('usage.invalid', (error as Error).message, {}, error);
  }
}

/**
 * Opens a target for a command that only reads: makes nothing on the disk, and starts no thread.
 * @param name the directory where it is undefined
 * @throws usage.invalid for a name that the settings do not have
 */
export async function readTarget<T>(
  context: CommandContext,
  name: string | undefined,
  work: (target: TargetReader) => Promise<T>,
): Promise<T> {
  const nowMs = () => Date.now();
  const targets = new Targets(() => context.settings, {
    roots: rootsOf(context),
    run: runHere,
    nowMs,
    monotonicMs: () => performance.now(),
    clock: readClock,
    events: new Events(),
    // Only who writes is known by a token, and looks for those who died.
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

export function unknownRepository(repository: string): DropdockError {
  const id = defaultRepositoryId(parseRepositoryName(repository));
  return new DropdockError('repository.unknown', `There is no repository ${repository}.`, {
    path: id,
  });
}

export function printJson({ print }: CommandContext, value: unknown): void {
  print(`${JSON.stringify(value, undefined, 2)}\n`);
}

/** Columns as wide as their widest cell, two spaces between them. */
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
