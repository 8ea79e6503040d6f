/** Commands that change what is published by hand: rollback, untag, remove. */
import { openServices, publishContext } from '../daemon/services.js';
import { DropdockError } from '../errors.js';
import { parseRepositoryName } from '../image/names.js';
import type { Log } from '../log.js';
import { type Edit, type EditResult, editRepository } from '../publish/edit.js';
import { resolveRepository } from '../settings/repository-policy.js';
import { isTimestamp } from '../snapshot/timestamp.js';
import { type CommandContext, EXIT, type ExitCode, printJson } from './context.js';

export function rollback(
  context: CommandContext,
  log: Log,
  repository: string,
  timestamp: string | undefined,
): Promise<ExitCode> {
  if (timestamp !== undefined && !isTimestamp(timestamp)) {
    throw new DropdockError('usage.invalid', `"${timestamp}" names no snapshot.`, {});
  }
  return change(context, log, repository, { kind: 'rollback', to: timestamp });
}

export function untag(
  context: CommandContext,
  log: Log,
  repository: string,
  tags: readonly string[],
): Promise<ExitCode> {
  return change(context, log, repository, { kind: 'untag', tags: [...new Set(tags)] });
}

export function remove(context: CommandContext, log: Log, repository: string): Promise<ExitCode> {
  return change(context, log, repository, { kind: 'remove' });
}

async function change(
  context: CommandContext,
  log: Log,
  repository: string,
  edit: Edit,
): Promise<ExitCode> {
  const policy = policyOf(context, repository);
  const services = await openServices(context.settings, log);
  try {
    const result = await editRepository(publishContext(services), policy, edit);
    report(context, repository, edit, result, policy.graceMs);
    await services.run('emptyTrash', { roots: services.roots });
    return EXIT.done;
  } finally {
    await services.close();
  }
}

function policyOf({ settings }: CommandContext, repository: string) {
  try {
    return resolveRepository(settings, parseRepositoryName(repository));
  } catch (error) {
    throw new DropdockError('usage.invalid', (error as Error).message, {}, error);
  }
}

function report(
  context: CommandContext,
  repository: string,
  edit: Edit,
  { snapshot, base, moves, to, later }: EditResult,
  graceMs: number,
): void {
  const { print } = context;
  if (context.json) {
    const status = snapshot === null ? 'unchanged' : 'published';
    const notDone = later.map(({ message }) => message);
    printJson(context, { status, repository, snapshot, base, to: to ?? null, moves, notDone });
    return;
  }
  if (snapshot === null) {
    print(`${repository} is that already; nothing changed.\n`);
    return;
  }
  for (const { tag, from, to: now } of moves) {
    print(`  ${tag}  ${from ?? '(not there)'} -> ${now ?? '(gone)'}\n`);
  }
  const done = {
    rollback: `${repository} is again what it was at ${to}, as snapshot ${snapshot}.`,
    untag: `${repository} is without ${moves.map(({ tag }) => tag).join(', ')} since snapshot ${snapshot}.`,
    remove: `${repository} is removed since snapshot ${snapshot}; pulls under way end well.`,
  };
  print(`${done[edit.kind]}\n`);
  const isGone = edit.kind === 'remove' && graceMs === 0;
  if (!isGone) print(`Undo: dropdock rollback ${repository} ${base}\n`);
  for (const { message } of later) print(`left to the next visit: ${message}\n`);
}
