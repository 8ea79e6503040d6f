/** Commands that only look: status, history, verify without --repair, clean --dry-run, config. */
import { resolve } from 'node:path';
import { DropdockError, hasErrno } from '../errors.js';
import { defaultRepositoryId, parseRepositoryName } from '../image/names.js';
import type { RepositoryOverview } from '../publish/overview.js';
import { formatDuration, isDuration } from '../settings/schema.js';
import {
  type CommandContext,
  EXIT,
  type ExitCode,
  formatBytes,
  formatTable,
  idOf,
  printJson,
  rootsOf,
  runHere,
} from './context.js';

export async function status(context: CommandContext, repository?: string): Promise<ExitCode> {
  const roots = rootsOf(context);
  const ids =
    repository === undefined
      ? await runHere('listRepositories', { roots })
      : [idOf(context, repository)];
  const found: RepositoryOverview[] = [];
  for (const id of ids) {
    try {
      const overview = await runHere('repositoryOverview', { roots, id });
      if (overview) found.push(overview);
    } catch (error) {
      // One that dropdock did not make must not hide the others.
      if (repository !== undefined || !(error instanceof DropdockError)) throw error;
      if (!context.json) context.print(`${id}: ${error.message}\n`);
    }
  }
  if (repository !== undefined && found.length === 0) throw unknown(repository);
  const inbox = await inboxStatus(context);
  if (context.json) {
    printJson(context, { repositories: found, inbox });
    return EXIT.done;
  }
  const [only] = found;
  if (repository !== undefined && only) printRepository(context, only);
  else printRepositories(context, found);
  if (inbox.length > 0) {
    context.print('\nInbox:\n');
    context.print(formatTable(inbox.map(({ drop, state }) => ['', drop, state])));
  }
  return EXIT.done;
}

interface WaitingDrop {
  readonly drop: string;
  readonly state: 'waiting' | 'claimed' | 'ignored';
}

async function inboxStatus({ settings }: CommandContext): Promise<WaitingDrop[]> {
  const inbox = resolve(settings.paths.inbox);
  const marker = settings.settle.marker ?? undefined;
  const nothing = { drops: [], ignored: [], directories: [] };
  const { drops, ignored } = await runHere('scan', { inbox, marker }).catch((error) => {
    if (hasErrno(error, 'ENOENT')) return nothing;
    throw error;
  });
  const claims = await runHere('listClaims', { inbox }).catch(() => []);
  return [
    ...claims.map(({ name }) => ({ drop: name, state: 'claimed' as const })),
    ...drops.map(({ path }) => ({ drop: path, state: 'waiting' as const })),
    ...ignored.map(({ path }) => ({ drop: path, state: 'ignored' as const })),
  ];
}

function printRepositories(context: CommandContext, found: readonly RepositoryOverview[]): void {
  if (found.length === 0) {
    context.print('Nothing is published yet.\n');
    return;
  }
  const rows = found.map(({ repository, snapshot, removed, tags, snapshots, bytes }) => [
    repository,
    snapshot,
    removed ? 'removed' : String(tags.length),
    String(snapshots),
    formatBytes(bytes),
  ]);
  context.print(formatTable([['REPOSITORY', 'SNAPSHOT', 'TAGS', 'KEPT', 'SIZE'], ...rows]));
}

function printRepository(context: CommandContext, overview: RepositoryOverview): void {
  const { repository, snapshot, snapshots, bytes, tags } = overview;
  context.print(`${repository}\n`);
  context.print(
    formatTable([
      ['  current snapshot', snapshot],
      ['  snapshots kept', String(snapshots)],
      ['  size', formatBytes(bytes)],
    ]),
  );
  context.print(formatTable(tags.map(({ tag, digest }) => [`  ${tag}`, digest])));
}

export async function history(context: CommandContext, repository: string): Promise<ExitCode> {
  const roots = rootsOf(context);
  const entries = await runHere('repositoryHistory', { roots, id: idOf(context, repository) });
  if (entries.length === 0) throw unknown(repository);
  if (context.json) printJson(context, entries);
  else {
    const rows = entries.map(({ at, snapshot, why, detail, drops, kept, current }) => [
      at,
      snapshot,
      current ? 'current' : kept ? 'kept' : 'gone',
      why,
      detail ?? drops.map(({ drop }) => drop).join(' '),
    ]);
    context.print(formatTable([['AT', 'SNAPSHOT', 'STATE', 'WHY', 'WHAT'], ...rows]));
  }
  return EXIT.done;
}

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
  for (const [pattern, values] of Object.entries(settings.repositories)) {
    context.print(`repositories ${pattern}: ${JSON.stringify(values)}\n`);
  }
  return EXIT.done;
}

type Plain = Record<string, unknown>;

export function unknown(repository: string): DropdockError {
  const id = defaultRepositoryId(parseRepositoryName(repository));
  return new DropdockError('repository.unknown', `There is no repository ${repository}.`, {
    path: id,
  });
}
