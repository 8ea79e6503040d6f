/** The data that `dropdock status` shows, and its text. Pure. */
import type { RejectedDrop } from '../inbox/rejected.js';
import type { OverviewColumn, RepositoryOverview, TargetOverview } from '../publisher/target.js';
import { isTimestamp, timestampMs } from '../repository/timestamp.js';
import { formatAge, formatBytes } from '../units.js';
import { formatTable } from './command-context.js';
import { type CommandLine, option } from './command-line.js';
import { describeProgress } from './progress-line.js';
import { type Head, headText } from './status-head.js';

/** The output of `--json`; docs/status.md describes every field. */
export interface Status extends Omit<TargetOverview, 'columns'>, Partial<HostStatus> {
  readonly version: 1;
  /** Absent for the directory. */
  readonly target?: string;
}

export interface HostStatus extends Head {
  readonly inbox: readonly InboxReport[];
  /** Number of waiting drops; `inbox` may list fewer. */
  readonly waiting: number;
  /** Newest first. */
  readonly rejected: readonly RejectedDrop[];
  /** Number of rejected drops; `rejected` may list fewer. */
  readonly rejectedTotal: number;
}

export interface InboxReport {
  readonly drop: string;
  readonly state:
    | 'waiting'
    | 'ignored'
    | 'left'
    | 'unreadable'
    | 'claimed'
    | 'queued'
    | 'publishing'
    | 'retrying';
  /** Milliseconds since the epoch; absent if no daemon is running. */
  readonly sinceMs?: number;
  readonly reason?: string;
  readonly progress?: { readonly done: number; readonly total?: number | undefined };
}

export interface ShowOptions {
  /** Show one repository, with its tags. */
  readonly one: boolean;
  /** Columns of the table of repositories. */
  readonly columns: readonly OverviewColumn[];
  readonly nowMs: number;
  readonly commandLine: CommandLine;
  /** As given; undefined: the directory. */
  readonly target?: string | undefined;
}

const LISTED_MAX = 20;

export function showStatus(status: Status, options: ShowOptions): string {
  const { one, columns, nowMs, commandLine } = options;
  const { repositories, strangers = [], tree, daemons, inbox, waiting = 0, rejected = [] } = status;
  const rejectedMore = (status.rejectedTotal ?? 0) - rejected.length;
  const [only] = repositories;
  const tags = only?.tags;
  const published =
    one && only && typeof tags === 'object'
      ? repositoryText({ ...only, tags }, options)
      : repositoriesText(repositories, columns, nowMs);
  const foreign = strangers.map(({ id, message }) => `${id}: ${message}\n`).join('');
  const head = tree && daemons ? headText({ tree, daemons }, commandLine) : '';
  const drops = inbox ? inboxText({ inbox, waiting }, nowMs) : '';
  return [head, published, foreign, drops, rejectedText(rejected, rejectedMore, nowMs)]
    .filter(Boolean)
    .join('\n');
}

interface Column {
  readonly heading: string;
  readonly cell: (repository: RepositoryOverview, nowMs: number) => string;
}

const COLUMNS: Readonly<Record<OverviewColumn, Column>> = {
  repository: { heading: 'REPOSITORY', cell: ({ repository }) => repository },
  snapshot: { heading: 'SNAPSHOT', cell: ({ snapshot }) => snapshot },
  age: { heading: 'AGE', cell: ({ snapshot }, nowMs) => ageOf(snapshot, nowMs) },
  tags: {
    heading: 'TAGS',
    cell: ({ removed, tags }) => {
      if (removed) return 'removed';
      return String(typeof tags === 'number' ? tags : tags.length);
    },
  },
  kept: { heading: 'KEPT', cell: ({ snapshots }) => String(snapshots ?? '') },
  own: { heading: 'OWN', cell: ({ ownBytes }) => bytesText(ownBytes) },
  shared: { heading: 'SHARED', cell: ({ sharedBytes }) => bytesText(sharedBytes) },
  flips: { heading: 'FLIPS', cell: ({ generation }) => String(generation ?? '') },
  since: { heading: 'SINCE', cell: ({ at }) => at ?? '' },
};

function repositoriesText(
  found: readonly RepositoryOverview[],
  names: readonly OverviewColumn[],
  nowMs: number,
): string {
  if (found.length === 0) return 'Nothing is published yet.\n';
  const columns = names.map((name) => COLUMNS[name]);
  const rows = found.map((each) => columns.map(({ cell }) => cell(each, nowMs)));
  return formatTable([columns.map(({ heading }) => heading), ...rows]);
}

function bytesText(bytes: number | undefined): string {
  return bytes === undefined ? '' : formatBytes(bytes);
}

type OverviewWithTags = RepositoryOverview & {
  readonly tags: Exclude<RepositoryOverview['tags'], number>;
};

function repositoryText(
  found: OverviewWithTags,
  { nowMs, commandLine, target }: ShowOptions,
): string {
  const { repository, snapshot, snapshots, ownBytes, sharedBytes, tags, removed } = found;
  const restore = commandLine('rollback', repository, ...option('--target', target));
  const facts = formatTable([
    ['  current snapshot', `${snapshot}, ${ageOf(snapshot, nowMs)} old`],
    ...(snapshots === undefined ? [] : [['  snapshots kept', String(snapshots)]]),
    ...(ownBytes === undefined
      ? []
      : [
          ['  on disk', `${bytesText(ownBytes)} own, ${bytesText(sharedBytes)} shared with others`],
        ]),
    ...(removed ? [['  removed', `to restore it: ${restore}`]] : []),
  ]);
  return `${repository}\n${facts}${formatTable(tags.map(({ tag, digest }) => [`  ${tag}`, digest]))}`;
}

/** True for a drop that lies in the inbox unclaimed: every daemon reports it. */
export function isInInbox({ state }: { readonly state: string }): boolean {
  return ['waiting', 'ignored', 'left', 'unreadable'].includes(state);
}

function inboxText(
  { inbox, waiting }: Pick<HostStatus, 'inbox' | 'waiting'>,
  nowMs: number,
): string {
  if (inbox.length === 0) return '';
  const rows = inbox
    .slice(0, LISTED_MAX)
    .map((each) => [
      `  ${each.drop}`,
      each.state,
      each.sinceMs === undefined ? '' : formatAge(nowMs - each.sinceMs),
      howText(each, nowMs),
    ]);
  const runs = inbox.filter((drop) => !isInInbox(drop)).length;
  const more = waiting + runs - rows.length;
  const rest = more > 0 ? `  and ${more} more\n` : '';
  return `Inbox:\n${formatTable(rows)}${rest}`;
}

function howText({ progress, sinceMs, reason, state }: InboxReport, nowMs: number): string {
  const isReading = state === 'publishing' && progress !== undefined;
  if (!isReading || (progress.done === 0 && reason)) return shorten(reason ?? '');
  const elapsedMs = sinceMs === undefined ? 0 : nowMs - sinceMs;
  return describeProgress('reading', progress.done, progress.total, elapsedMs);
}

function rejectedText(rejected: HostStatus['rejected'], more: number, nowMs: number): string {
  if (rejected.length === 0) return '';
  const rows = rejected.map(({ drop, at, code, message, hint }) => [
    `  ${drop}`,
    `${ageOf(at, nowMs)} ago`,
    code,
    shorten([message, hint].filter(Boolean).join(' ')),
  ]);
  const rest = more > 0 ? `  and ${more} more\n` : '';
  return `Rejected (kept in inbox/.rejected/; the receipt has the command to take a drop back):\n${formatTable(rows)}${rest}`;
}

/** Shortens digests to twelve digits, enough to find them; `--json` and the receipt have all digits. */
function shorten(text: string): string {
  return text.replace(/\b([0-9a-f]{12})[0-9a-f]{52,}\b/g, '$1…');
}

function ageOf(timestamp: string, nowMs: number): string {
  return isTimestamp(timestamp) ? formatAge(nowMs - timestampMs(timestamp)) : '?';
}
