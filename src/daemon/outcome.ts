/** What is said of an outcome: the frame of its receipt and the fields of its line in the log. */
import { DropdockError } from '../errors.js';
import type { LogFields } from '../log.js';
import type { DropOutcome, PublishedDrop } from '../publish/drop.js';
import { heldBack, type ReceiptFrame } from '../report.js';
import { toTimestamp } from '../snapshot/timestamp.js';
import type { ClaimedDrop } from './publisher.js';
import type { Services } from './services.js';

export function frameOf({ nowMs, monotonicMs }: Services, claimed: ClaimedDrop): ReceiptFrame {
  const { claim, name, policy } = claimed;
  return {
    drop: name,
    repository: policy?.repository ?? null,
    id: policy?.id ?? null,
    claim: claim.name,
    claimedAt: claim.at,
    finishedAt: toTimestamp(nowMs()),
    tookMs: Math.round(monotonicMs() - claimed.claimedMs),
  };
}

/** Says of drops that wait for somebody else that they do. */
export function sayBusy({ log }: Services, drops: Iterable<ClaimedDrop>): void {
  for (const { name, policy } of drops) {
    log('warn', 'publish.waiting', {
      repo: policy?.repository,
      drop: name,
      code: 'lock.busy',
      message: `Another publisher holds the lock of ${policy?.repository ?? 'a repository'}.`,
    });
  }
}

/** Refused only because its end has not come yet; its time is not up. */
export function isUnfinished(drop: ClaimedDrop['drop'], error: unknown): boolean {
  const isTruncated = error instanceof DropdockError && error.code === 'archive.truncated';
  return isTruncated && !drop.tolerateAbsent;
}

export function eventOf({ status }: DropOutcome): 'publish.unchanged' | 'publish.done' {
  return status === 'unchanged' ? 'publish.unchanged' : 'publish.done';
}

export function publishFields({
  snapshot,
  content,
  moves,
  ingested,
  leftOut,
}: PublishedDrop): LogFields {
  const tags = content.roots.flatMap((root) => root.tags);
  const shown = tags.slice(0, 5).join(',') + (tags.length > 5 ? `,+${tags.length - 5}` : '');
  const absent = leftOut.filter(({ why }) => why.startsWith('a platform')).map(({ what }) => what);
  return {
    snapshot,
    tags: shown || undefined,
    moved: moves.filter(({ from }) => from !== null).length || undefined,
    blobs: content.blobs.length,
    new: ingested.linked + ingested.cloned + ingested.copied,
    absent: absent.join(',') || undefined,
  };
}

/** Says what drops hold that was not published; once, however many repositories they went to. */
export function sayLeftOut(
  { log }: Pick<Services, 'log'>,
  fields: LogFields,
  outcomes: readonly PublishedDrop[],
): void {
  const said = new Set<string>();
  for (const { what, why } of outcomes.flatMap(heldBack)) {
    if (said.has(`${what} ${why}`)) continue;
    said.add(`${what} ${why}`);
    log('warn', 'publish.left-out', { ...fields, what, why });
  }
}
