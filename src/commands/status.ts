/** `dropdock status`: what is published, what waits and why, what runs now, what was refused. */
import { resolve } from 'node:path';
import type { BoardDocument } from '../daemon/board-keeper.js';
import { OwnerWatch } from '../disk/owner.js';
import { DropdockError, hasErrno } from '../errors.js';
import type { RejectedDrop } from '../inbox/rejected.js';
import type { RepositoryOverview } from '../publish/overview.js';
import { ownersDirectory } from '../publish/paths.js';
import {
  type CommandContext,
  EXIT,
  type ExitCode,
  idOf,
  printJson,
  rootsOf,
  runHere,
} from './context.js';
import { unknown } from './look.js';
import { showStatus } from './show-status.js';

/** docs/status.md describes every field; `--json` gives it as it is. */
export interface Status {
  readonly version: 1;
  readonly repositories: readonly RepositoryStatus[];
  /** Something under web/ that dropdock did not make, or cannot read. */
  readonly strangers: readonly { readonly id: string; readonly message: string }[];
  readonly daemons: readonly {
    readonly pid: number;
    readonly owner: string;
    readonly at: number;
  }[];
  readonly inbox: readonly InboxStatus[];
  /** How many wait altogether; not all of them may be listed. */
  readonly waiting: number;
  /** The newest first. */
  readonly rejected: readonly RejectedDrop[];
}

export interface RepositoryStatus extends RepositoryOverview {
  /** Bytes of all that the kept snapshots serve, each digest counted once: what others serve too, */
  readonly sharedBytes: number;
  /** and what only this one does. */
  readonly ownBytes: number;
}

export interface InboxStatus {
  readonly drop: string;
  readonly state: 'waiting' | 'ignored' | 'claimed' | 'queued' | 'publishing' | 'retrying';
  /** Milliseconds since the epoch; left out where no daemon tells. */
  readonly sinceMs?: number;
  readonly reason?: string;
  readonly progress?: { readonly done: number; readonly total?: number | undefined };
}

export interface StatusOptions {
  readonly repository: string | undefined;
  /** Again every second, until it is interrupted. */
  readonly watch: boolean;
  readonly isTerminal: boolean;
}

const WATCH_MS = 1000;
const REJECTED_MAX = 10;
/** To the first column of the first line; and all below the cursor away. */
const HOME = '\x1b[H\x1b[J';

/** @throws repository.unknown */
export async function status(context: CommandContext, options: StatusOptions): Promise<ExitCode> {
  const { repository, watch, isTerminal } = options;
  for (;;) {
    const found = await lookAround(context, repository);
    if (context.json) printJson(context, found);
    else {
      const text = showStatus(found, { one: repository !== undefined, nowMs: Date.now() });
      context.print(watch && isTerminal ? HOME + text : text);
    }
    if (!watch) return EXIT.done;
    await new Promise((next) => setTimeout(next, WATCH_MS));
  }
}

async function lookAround(
  context: CommandContext,
  repository: string | undefined,
): Promise<Status> {
  const roots = rootsOf(context);
  const inbox = resolve(context.settings.paths.inbox);
  const { repositories, strangers } = await repositoryStatus(context, repository);
  if (repository !== undefined && repositories.length === 0) throw unknown(repository);
  const { stale: silenceMs, kernel } = context.settings.lock;
  const monotonicMs = () => performance.now();
  const owners = new OwnerWatch(ownersDirectory(roots), { silenceMs, monotonicMs, kernel });
  const boards = (await runHere('readBoards', { roots }))
    .filter(({ owner }) => !owners.isDead(owner))
    .map(({ owner, text }) => ({ owner, ...(JSON.parse(text) as BoardDocument) }));
  const rejected = await runHere('listRejected', { inbox, count: REJECTED_MAX });
  const seen =
    boards.length > 0
      ? {
          inbox: dropsOf(boards).map((drop) => toInboxStatus(drop, { inbox, ...roots })),
          waiting: sumOf(boards),
        }
      : await scanned(context, inbox);
  return {
    version: 1,
    repositories,
    strangers,
    daemons: boards.map(({ pid, owner, at }) => ({ pid, owner, at })),
    ...seen,
    rejected,
  };
}

/** Two daemons on one inbox see the same drops wait. */
function sumOf(boards: readonly BoardDocument[]): number {
  return Math.max(...boards.map(({ waiting }) => waiting));
}

type BoardDrop = BoardDocument['drops'][number];

/** What lies in the inbox, and not with a daemon: every daemon sees it. */
const isInInbox = ({ state }: BoardDrop) => state === 'waiting' || state === 'ignored';

/**
 * What the daemons say together: each claim is one daemon's, what waits is seen by all of them and said
 * once, as the one that looked last says it. A daemon that looked before another one claimed a drop still
 * sees it wait.
 */
export function dropsOf(boards: readonly BoardDocument[]): BoardDrop[] {
  const newestFirst = [...boards].sort((a, b) => b.at - a.at);
  const seen = new Set<string>();
  const waiting: BoardDrop[] = [];
  for (const { drops } of newestFirst) {
    const own = drops.filter((drop) => isInInbox(drop) && !seen.has(drop.drop));
    waiting.push(...own);
    for (const { drop } of drops) seen.add(drop);
  }
  const claimed = boards.flatMap(({ drops }) => drops.filter((drop) => !isInInbox(drop)));
  return [...claimed, ...waiting];
}

/** @param places what a board names as `<inbox>`, for it is shown to others as well */
export function toInboxStatus(
  { drop, state, sinceMs, reason, progress }: BoardDocument['drops'][number],
  places: Readonly<Record<string, string>>,
): InboxStatus {
  const here = reason?.replace(/<(\w+)>/g, (text, name) => places[name] ?? text);
  return {
    drop,
    state: state as InboxStatus['state'],
    sinceMs,
    ...(here !== undefined && { reason: here }),
    ...(progress && { progress }),
  };
}

/** Without a daemon to tell: what lies there. */
async function scanned(
  { settings }: CommandContext,
  inbox: string,
): Promise<Pick<Status, 'inbox' | 'waiting'>> {
  const marker = settings.settle.marker ?? undefined;
  const nothing = { drops: [], ignored: [], directories: [] };
  const { drops, ignored } = await runHere('scan', { inbox, marker }).catch((error) => {
    if (hasErrno(error, 'ENOENT')) return nothing;
    throw error;
  });
  const claims = await runHere('listClaims', { inbox }).catch(() => []);
  return {
    inbox: [
      ...claims.map(({ path }) => ({ drop: path, state: 'claimed' as const })),
      ...drops.map(({ path }) => ({ drop: path, state: 'waiting' as const })),
      ...ignored.map(({ path, reason }) => ({ drop: path, state: 'ignored' as const, reason })),
    ],
    waiting: drops.length + ignored.length,
  };
}

async function repositoryStatus(
  context: CommandContext,
  repository: string | undefined,
): Promise<Pick<Status, 'repositories' | 'strangers'>> {
  const roots = rootsOf(context);
  const asked = repository === undefined ? undefined : idOf(context, repository);
  const overviews: RepositoryOverview[] = [];
  const strangers: { id: string; message: string }[] = [];
  const contents = new Map<string, ReadonlyMap<string, number>>();
  const holders = new Map<string, number>();
  for (const id of await runHere('listRepositories', { roots })) {
    try {
      const overview = await runHere('repositoryOverview', { roots, id });
      const sizes = await runHere('repositoryContents', { roots, id });
      for (const digest of sizes.keys()) holders.set(digest, (holders.get(digest) ?? 0) + 1);
      if (overview === undefined || (asked !== undefined && id !== asked)) continue;
      overviews.push(overview);
      contents.set(id, sizes);
    } catch (error) {
      // One that dropdock did not make must not hide the others.
      if (id === asked || !(error instanceof DropdockError)) throw error;
      strangers.push({ id, message: error.message });
    }
  }
  const repositories = overviews.map((overview) => {
    let [sharedBytes, ownBytes] = [0, 0];
    for (const [digest, size] of contents.get(overview.id) ?? []) {
      if ((holders.get(digest) ?? 0) > 1) sharedBytes += size;
      else ownBytes += size;
    }
    return { ...overview, sharedBytes, ownBytes };
  });
  return { repositories, strangers };
}
