/** `dropdock clean`: removes stale snapshots, expired manifests kept for grace, and unused content. */
import { openServices } from '../daemon/services.js';
import { targetNamed } from '../daemon/targets.js';
import type { Log } from '../log.js';
import type { CleanedRepository, CleanResult } from '../publisher/target.js';
import { shownTarget } from '../settings/target-settings.js';
import { formatBytes } from '../units.js';
import {
  type CommandContext,
  type ExitCode,
  exitOf,
  formatTable,
  nameOf,
  printJson,
} from './command-context.js';

export interface CleanOptions {
  readonly dryRun: boolean;
  /** Undefined: all targets. */
  readonly target: string | undefined;
}

export async function clean(
  context: CommandContext,
  log: Log,
  { dryRun, target }: CleanOptions,
): Promise<ExitCode> {
  const named = target === undefined ? undefined : targetNamed(context.settings, target);
  const { targets, close } = await openServices(() => context.settings, log);
  const cleaned = new Map<string | undefined, CleanResult>();
  const failures: unknown[] = [];
  try {
    for (const name of named === undefined ? targets.names : [named]) {
      try {
        cleaned.set(shownTarget(name), await targets.get(name).clean({ dryRun }));
      } catch (error) {
        // An unreachable target must not keep the others from being cleaned.
        failures.push(error);
      }
    }
  } finally {
    await close();
  }
  if (context.json) printJson(context, { dryRun, ...documentOf(cleaned) });
  else for (const [shown, result] of cleaned) printCleaned(context, shown, result, dryRun);
  if (failures.length > 0) throw failures[0];
  return exitOf([...cleaned.values()].flatMap(({ notDone }) => notDone.map(({ error }) => error)));
}

/** Returns the JSON output: the directory's fields at the top, the other targets below `targets`. */
function documentOf(cleaned: ReadonlyMap<string | undefined, CleanResult>): object {
  const targets: Record<string, object> = {};
  let document: object = {};
  for (const [target, result] of cleaned) {
    const { repositories, content, uploads, stopped } = result;
    const notDone = result.notDone.map(({ id, error: { message } }) => ({ id, message }));
    if (target === undefined) document = { repositories, content, notDone };
    else targets[target] = { repositories, ...content, uploads, stopped };
  }
  return Object.keys(targets).length > 0 ? { ...document, targets } : document;
}

function printCleaned(
  context: CommandContext,
  target: string | undefined,
  { repositories, content, notDone, stopped }: CleanResult,
  dryRun: boolean,
): void {
  const { print } = context;
  if (target !== undefined) print(`${target}:\n`);
  const rows = repositories.flatMap((each) => rowsOf(nameOf(context, each.id), each, dryRun));
  if (rows.length > 0) print(formatTable([['REPOSITORY', 'SNAPSHOT', '', 'RULE', ''], ...rows]));
  for (const { id, error } of notDone) {
    print(`not cleaned: ${id === null ? '' : `${nameOf(context, id)}: `}${error.message}\n`);
  }
  const verb = dryRun ? 'would free' : 'freed';
  print(`unused content: ${content.files} files, ${verb} ${formatBytes(content.bytes)}\n`);
  if (stopped !== undefined) print(`Cleaning stopped early: ${stopped}.\n`);
}

function rowsOf(
  name: string,
  { snapshots, strangers = [], overdue = 0, renewed }: CleanedRepository,
  dryRun: boolean,
): string[][] {
  const what = `without ${overdue} replaced manifests whose grace period is over`;
  return [
    ...(renewed ? [[name, renewed, 'created', 'current', what]] : []),
    ...(dryRun && overdue > 0 ? [[name, '(new)', 'would be created', 'current', what]] : []),
    ...snapshots.map(({ name: snapshot, rule, remove, untilMs }) => [
      name,
      snapshot,
      remove ? (dryRun ? 'would be removed' : 'removed') : 'kept',
      rule,
      untilMs === undefined ? '' : `until ${new Date(untilMs).toISOString()}`,
    ]),
    ...strangers.map((entry) => [name, entry, 'kept', 'unknown entry', '']),
  ];
}
