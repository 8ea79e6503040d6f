/** `dropdock status`: published repositories, waiting drops, running publishes, rejected drops. */
import { resolve } from 'node:path';
import type { InboxStatusDocument } from '../daemon/inbox-status-writer.js';
import { hasErrno } from '../errors.js';
import { parseRepositoryName } from '../image/names.js';
import { findOwnInbox, listClaims } from '../inbox/claim.js';
import { listRejected } from '../inbox/rejected.js';
import { scan } from '../inbox/scan-job.js';
import type { TargetReader } from '../publisher/target.js';
import { shownTarget } from '../settings/target-settings.js';
import { nodeDisk } from '../storage/disk.js';
import { readInboxStatus } from '../storage/inbox-status-file.js';
import { OwnerWatch } from '../storage/owner.js';
import { ownersDirectory } from '../storage/tree-paths.js';
import {
  type CommandContext,
  EXIT,
  type ExitCode,
  idOf,
  printJson,
  readTarget,
  rootsOf,
  runHere,
  unknownRepository,
} from './command-context.js';
import { limitedTo } from './status-filter.js';
import {
  type HostStatus,
  type InboxReport,
  isInInbox,
  type Status,
  showStatus,
} from './status-text.js';

export interface StatusOptions {
  readonly repository: string | undefined;
  /** Undefined: the directory, and this host's inbox and daemons. */
  readonly target: string | undefined;
  /** Repeat every second until interrupted. */
  readonly watch: boolean;
  readonly isTerminal: boolean;
  /** Returns whether the reader of the output has closed its end, as `head` does. */
  readonly isOutputGone: () => boolean;
}

const WATCH_MS = 1000;
const REJECTED_MAX = 10;
/** ANSI: cursor to the top left, erase everything below it. */
const HOME = '\x1b[H\x1b[J';

/** @throws repository.unknown, usage.invalid */
export function status(context: CommandContext, options: StatusOptions): Promise<ExitCode> {
  return readTarget(context, options.target, async (target) => {
    for (;;) {
      await lookOnce(context, options, target);
      if (!options.watch) return EXIT.done;
      await new Promise((next) => setTimeout(next, WATCH_MS));
      if (options.isOutputGone()) return EXIT.done;
    }
  });
}

async function lookOnce(
  context: CommandContext,
  { repository, target: given, watch, isTerminal }: StatusOptions,
  target: TargetReader,
): Promise<void> {
  const id = repository === undefined ? undefined : idOf(context, repository);
  const { columns, ...overview } = await target.overview(id);
  const shown = shownTarget(target.name);
  // The inbox and the directory belong to this host, so they are shown together.
  const host = shown === undefined ? await lookAtHost(context, repository) : undefined;
  const isKnown =
    overview.repositories.length + (host?.inbox.length ?? 0) + (host?.rejectedTotal ?? 0);
  if (repository !== undefined && isKnown === 0) {
    throw unknownRepository(context, repository, target.name);
  }
  const found: Status = {
    version: 1,
    ...(shown !== undefined && { target: shown }),
    ...overview,
    ...host,
  };
  if (context.json) return printJson(context, found);
  const text = showStatus(found, {
    one: repository !== undefined,
    columns,
    nowMs: Date.now(),
    commandLine: context.commandLine,
    target: given,
  });
  context.print(watch && isTerminal ? HOME + text : text);
}

/**
 * Returns this host's inbox and the daemons that run on its tree.
 * @param name only what belongs to this repository
 */
async function lookAtHost(context: CommandContext, name: string | undefined): Promise<HostStatus> {
  const repository = name === undefined ? undefined : parseRepositoryName(name);
  const roots = rootsOf(context);
  const inbox = resolve(context.settings.paths.inbox);
  const { stale: silenceMs, kernel } = context.settings.lock;
  const monotonicMs = () => performance.now();
  const owners = new OwnerWatch(ownersDirectory(roots), { silenceMs, monotonicMs, kernel });
  const boards = (await runHere(readInboxStatus, { roots }))
    .filter(({ owner }) => !owners.isDead(owner))
    .map(({ owner, text }) => ({ owner, ...(JSON.parse(text) as InboxStatusDocument) }));
  const own = await runHere(findOwnInbox, { inbox, state: roots.state, isDaemon: false });
  const { drops: rejected, total: rejectedTotal } = await runHere(listRejected, {
    inbox: own,
    count: REJECTED_MAX,
    repository,
  });
  const seen =
    boards.length > 0
      ? {
          inbox: dropsOf(boards).map((drop) => toInboxReport(drop, { inbox, ...roots })),
          waiting: sumOf(boards),
        }
      : await scanned(context, inbox, own);
  const daemons = boards.map(({ pid, owner, at, daemon }) => ({ pid, owner, at, ...daemon }));
  const tree = { inbox, ...roots, exists: nodeDisk.statIfThere(roots.state) !== undefined };
  const host = { tree, daemons, ...seen, rejected, rejectedTotal };
  return repository === undefined ? host : limitedTo(repository, host);
}

/** The maximum, not the sum: daemons on one inbox report the same waiting drops. */
function sumOf(boards: readonly InboxStatusDocument[]): number {
  return Math.max(...boards.map(({ waiting }) => waiting));
}

type DropStatus = InboxStatusDocument['drops'][number];

/**
 * Merges the reports of all daemons. Each claim belongs to one daemon. A waiting drop is reported by all of
 * them and is returned once, as in the newest report. A daemon that scanned before another one claimed a
 * drop still reports it as waiting; such a report is dropped.
 */
export function dropsOf(boards: readonly InboxStatusDocument[]): DropStatus[] {
  const newestFirst = [...boards].sort((a, b) => b.at - a.at);
  const seen = new Set<string>();
  const waiting: DropStatus[] = [];
  for (const { drops } of newestFirst) {
    const own = drops.filter((drop) => isInInbox(drop) && !seen.has(drop.drop));
    waiting.push(...own);
    for (const { drop } of drops) seen.add(drop);
  }
  const claimed = boards.flatMap(({ drops }) => drops.filter((drop) => !isInInbox(drop)));
  return [...claimed, ...waiting];
}

/** @param places paths to insert for `<inbox>` and the like: the stored text is public and names no paths */
export function toInboxReport(
  { drop, state, sinceMs, reason, progress }: InboxStatusDocument['drops'][number],
  places: Readonly<Record<string, string>>,
): InboxReport {
  const here = reason?.replace(/<(\w+)>/g, (text, name) => places[name] ?? text);
  return {
    drop,
    state: state as InboxReport['state'],
    sinceMs,
    ...(here !== undefined && { reason: here }),
    ...(progress && { progress }),
  };
}

/** Scans the inbox, for when no daemon is running. */
async function scanned(
  { settings }: CommandContext,
  inbox: string,
  own: string,
): Promise<Pick<HostStatus, 'inbox' | 'waiting'>> {
  const marker = settings.settle.marker ?? undefined;
  const nothing = { drops: [], ignored: [], left: [], directories: [] };
  const removes = settings.inbox.after === 'remove';
  const found = await runHere(scan, { inbox, own, marker, removes }).catch((error) => {
    if (hasErrno(error, 'ENOENT')) return nothing;
    throw error;
  });
  const { drops, ignored, left } = found;
  const claims = await runHere(listClaims, { inbox: own }).catch(() => []);
  return {
    inbox: [
      ...claims.map(({ path }) => ({ drop: path, state: 'claimed' as const })),
      ...drops.map(({ path }) => ({ drop: path, state: 'waiting' as const })),
      ...left.map(({ path, reason }) => ({ drop: path, state: 'left' as const, reason })),
      ...ignored.map(({ path, reason, isUnreadable }) => {
        const state = isUnreadable ? ('unreadable' as const) : ('ignored' as const);
        return { drop: path, state, reason };
      }),
    ],
    waiting: drops.length + left.length + ignored.length,
  };
}
