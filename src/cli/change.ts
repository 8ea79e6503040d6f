/** The commands rollback, untag and remove. */
import { tellDaemon } from '../daemon/log-commands.js';
import { openServices } from '../daemon/services.js';
import { targetNamed } from '../daemon/targets.js';
import { DropdockError } from '../errors.js';
import { parseRepositoryName } from '../image/names.js';
import type { Log } from '../log.js';
import type { Edit, PublishResult } from '../publisher/target.js';
import { isTimestamp } from '../repository/timestamp.js';
import { resolveRepository } from '../settings/repository-policy.js';
import { isLocalOnly } from '../settings/target-settings.js';
import { emptyTrash } from '../storage/trash.js';
import { type CommandContext, EXIT, type ExitCode, printJson } from './command-context.js';
import { option } from './command-line.js';

/** The repository to change, and the target to change it in; undefined: all its targets. */
export interface Changed {
  readonly repository: string;
  readonly target: string | undefined;
}

export function rollback(
  context: CommandContext,
  log: Log,
  changed: Changed,
  timestamp: string | undefined,
): Promise<ExitCode> {
  if (timestamp !== undefined && !isTimestamp(timestamp)) {
    throw new DropdockError('usage.invalid', `"${timestamp}" is not the name of a snapshot.`, {});
  }
  return change(context, log, changed, { kind: 'rollback', to: timestamp, by: context.by });
}

export function untag(
  context: CommandContext,
  log: Log,
  changed: Changed,
  tags: readonly string[],
): Promise<ExitCode> {
  return change(context, log, changed, {
    kind: 'untag',
    tags: [...new Set(tags)],
    by: context.by,
  });
}

export function remove(context: CommandContext, log: Log, changed: Changed): Promise<ExitCode> {
  return change(context, log, changed, { kind: 'remove', by: context.by });
}

async function change(
  context: CommandContext,
  log: Log,
  { repository, target }: Changed,
  edit: Edit,
): Promise<ExitCode> {
  const policy = policyOf(context, repository);
  const targets = target === undefined ? policy.targets : [targetNamed(context.settings, target)];
  if (edit.kind === 'rollback' && edit.to !== undefined && targets.length > 1) {
    const message = `A snapshot belongs to one target: add --target ${targets.join(' or ')}.`;
    throw new DropdockError('usage.invalid', message);
  }
  const services = await openServices(() => context.settings, log);
  const failures: unknown[] = [];
  try {
    for (const each of targets) {
      try {
        const result = await services.targets.get(each).publish(policy, edit);
        const where = isLocalOnly({ targets }) ? undefined : each;
        const { snapshot, moves } = result;
        const about = { command: edit.kind, repository, target: where, by: edit.by };
        await tellDaemon(services, { ...about, snapshot, moves });
        // Without --target, a command to paste would change the other targets too.
        const pasted = target === undefined && isLocalOnly(policy) ? undefined : each;
        report(context, { repository, target: where, pasted }, edit, {
          ...result,
          graceMs: policy.graceMs,
        });
      } catch (error) {
        failures.push(error);
      }
    }
    await services.run(emptyTrash, { roots: services.roots });
    // The first error is thrown only now, so that one failing target does not keep the others from the change.
    if (failures.length > 0) throw failures[0];
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
  { repository: name, target, pasted }: Changed & { readonly pasted: string | undefined },
  edit: Edit,
  { snapshot, base, moves, to, later, graceMs }: PublishResult & { readonly graceMs: number },
): void {
  const { print } = context;
  if (context.json) {
    const status = snapshot === null ? 'unchanged' : 'published';
    const notDone = later.map(({ message }) => message);
    const where = target === undefined ? {} : { target };
    printJson(context, {
      status,
      repository: name,
      ...where,
      snapshot,
      base,
      to: to ?? null,
      by: edit.by ?? null,
      moves,
      notDone,
    });
    return;
  }
  const repository = target === undefined ? name : `${name} in ${target}`;
  const command = (verb: string, ...words: string[]) =>
    context.commandLine(verb, name, ...words, ...option('--target', pasted));
  if (snapshot === null) {
    print(`${repository} is already in that state; nothing changed. To go back further:\n`);
    print(`  ${command('history')}\n  ${command('rollback', 'TIMESTAMP')}\n`);
    return;
  }
  for (const { tag, from, to: now } of moves) {
    print(`  ${tag}  ${from ?? '(none)'} -> ${now ?? '(removed)'}\n`);
  }
  const done = {
    rollback: `${repository} is restored to the state of ${to}, as snapshot ${snapshot}.`,
    untag: `${repository}: tags ${moves.map(({ tag }) => tag).join(', ')} removed in snapshot ${snapshot}.`,
    remove: `${repository} is removed in snapshot ${snapshot}; running pulls will finish.`,
  };
  print(`${done[edit.kind]}\n`);
  const isGone = edit.kind === 'remove' && graceMs === 0;
  if (!isGone && base !== null) print(`Undo: ${command('rollback', base)}\n`);
  for (const { message } of later) {
    print(`will be completed by the next publish or clean: ${message}\n`);
  }
}
