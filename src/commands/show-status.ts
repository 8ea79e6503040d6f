/** The text of `dropdock status`. Pure. */
import { isTimestamp, timestampMs } from '../snapshot/timestamp.js';
import { formatBytes, formatTable } from './context.js';
import { describeProgress } from './progress-line.js';
import type { InboxStatus, RepositoryStatus, Status } from './status.js';

export interface ShowOptions {
  /** One repository was asked for: its tags as well. */
  readonly one: boolean;
  readonly nowMs: number;
}

const LISTED_MAX = 20;

export function showStatus(status: Status, { one, nowMs }: ShowOptions): string {
  const [only] = status.repositories;
  const repositories =
    one && only ? repositoryText(only, nowMs) : repositoriesText(status.repositories, nowMs);
  const strangers = status.strangers.map(({ id, message }) => `${id}: ${message}\n`).join('');
  return [repositories, strangers, inboxText(status, nowMs), rejectedText(status, nowMs)]
    .filter(Boolean)
    .join('\n');
}

function repositoriesText(found: readonly RepositoryStatus[], nowMs: number): string {
  if (found.length === 0) return 'Nothing is published yet.\n';
  const rows = found.map((each) => [
    each.repository,
    each.snapshot,
    ageOf(each.snapshot, nowMs),
    each.removed ? 'removed' : String(each.tags.length),
    String(each.snapshots),
    formatBytes(each.ownBytes),
    formatBytes(each.sharedBytes),
  ]);
  return formatTable([['REPOSITORY', 'SNAPSHOT', 'AGE', 'TAGS', 'KEPT', 'OWN', 'SHARED'], ...rows]);
}

function repositoryText(found: RepositoryStatus, nowMs: number): string {
  const { repository, snapshot, snapshots, ownBytes, sharedBytes, tags, removed } = found;
  const facts = formatTable([
    ['  current snapshot', `${snapshot}, ${ageOf(snapshot, nowMs)} old`],
    ['  snapshots kept', String(snapshots)],
    ['  on disk', `${formatBytes(ownBytes)} own, ${formatBytes(sharedBytes)} shared with others`],
    ...(removed ? [['  removed', `dropdock rollback ${repository} brings it back`]] : []),
  ]);
  return `${repository}\n${facts}${formatTable(tags.map(({ tag, digest }) => [`  ${tag}`, digest]))}`;
}

function inboxText({ inbox, waiting, daemons }: Status, nowMs: number): string {
  if (inbox.length === 0 && daemons.length > 0) return '';
  const who =
    daemons.length > 0 ? '' : 'No daemon works on this tree; start it with: dropdock run\n';
  if (inbox.length === 0) return who;
  const rows = inbox
    .slice(0, LISTED_MAX)
    .map((each) => [
      `  ${each.drop}`,
      each.state,
      each.sinceMs === undefined ? '' : formatAge(nowMs - each.sinceMs),
      howText(each, nowMs),
    ]);
  const runs = inbox.filter(({ state }) => state !== 'waiting' && state !== 'ignored').length;
  const more = waiting + runs - rows.length;
  const rest = more > 0 ? `  and ${more} more\n` : '';
  return `Inbox:\n${formatTable(rows)}${rest}${who}`;
}

function howText({ progress, sinceMs, reason, state }: InboxStatus, nowMs: number): string {
  const isReading = state === 'publishing' && progress !== undefined;
  if (!isReading || (progress.done === 0 && reason)) return shorten(reason ?? '');
  const elapsedMs = sinceMs === undefined ? 0 : nowMs - sinceMs;
  return describeProgress('reading', progress.done, progress.total, elapsedMs);
}

function rejectedText({ rejected }: Status, nowMs: number): string {
  if (rejected.length === 0) return '';
  const rows = rejected.map(({ drop, at, code, message, hint }) => [
    `  ${drop}`,
    `${ageOf(at, nowMs)} ago`,
    code,
    shorten([message, hint].filter(Boolean).join(' ')),
  ]);
  return `Rejected (inbox/.rejected/ has them whole):\n${formatTable(rows)}`;
}

/** Twelve digits of a digest are enough to find it; `--json` and the receipt have all of them. */
function shorten(text: string): string {
  return text.replace(/\b([0-9a-f]{12})[0-9a-f]{52,}\b/g, '$1…');
}

function ageOf(timestamp: string, nowMs: number): string {
  return isTimestamp(timestamp) ? formatAge(nowMs - timestampMs(timestamp)) : '?';
}

const STEPS: readonly (readonly [number, string])[] = [
  [86_400_000, 'd'],
  [3_600_000, 'h'],
  [60_000, 'min'],
];

/** `12s`, `3min`, `5h`, `2d` */
export function formatAge(ms: number): string {
  const [unitMs, unit] = STEPS.find(([size]) => ms >= size) ?? [1000, 's'];
  return `${Math.max(0, Math.floor(ms / unitMs))}${unit}`;
}
