/** Prints the result of `dropdock publish`. */

import type { PublishedOnce, PublishedPart } from '../publisher/publish-once.js';
import type { DropToPublish } from '../publisher/stored-drop.js';
import type { PublishedOutcome } from '../publisher/target.js';
import {
  bundleReceipt,
  publishedPart,
  publishedReceipt,
  type ReceiptFrame,
  refusedNamePart,
  rejectedReceipt,
} from '../report.js';
import { toTimestamp } from '../repository/timestamp.js';
import { formatBytes, formatTime } from '../units.js';
import { type CommandContext, EXIT, type ExitCode, printJson } from './command-context.js';

/** @throws the error of a rejected drop */
export function reportOutcome(
  context: CommandContext,
  drop: DropToPublish,
  { policy, outcome, targets }: PublishedPart,
  tookMs: number,
): ExitCode {
  const { repository, id } = policy;
  const frame = frameOf(drop, repository, id, tookMs);
  if (outcome.status === 'rejected') {
    if (context.json) printJson(context, rejectedReceipt(outcome.error, frame));
    throw outcome.error;
  }
  const all = { ...outcome, ...(targets && { targets }) };
  if (context.json) printJson(context, publishedReceipt(all, frame));
  else printPublished(context, repository, outcome, tookMs);
  return EXIT.done;
}

/** For a drop of which nothing was published. @throws the error */
export function reportRejected(
  context: CommandContext,
  drop: DropToPublish,
  policy: Pick<PublishedPart['policy'], 'repository' | 'id'> | undefined,
  error: Error,
  tookMs: number,
): never {
  const frame = frameOf(drop, policy?.repository ?? null, policy?.id ?? null, tookMs);
  if (context.json) printJson(context, rejectedReceipt(error, frame));
  throw error;
}

/** @throws the error of the first rejected part */
export function reportBundle(
  context: CommandContext,
  drop: DropToPublish,
  { parts, refused }: PublishedOnce,
  tookMs: number,
): ExitCode {
  const frame = frameOf(drop, null, null, tookMs);
  const published = parts.flatMap(({ policy, outcome, targets }) =>
    outcome.status === 'rejected' ? [] : [{ policy, outcome, targets }],
  );
  const isNew = published.some(({ outcome }) => outcome.status === 'published');
  if (context.json) {
    const all = published.map(({ policy: { repository }, outcome, targets }) => ({
      repository,
      ...publishedPart({ ...outcome, ...(targets && { targets }) }),
    }));
    const status = isNew ? 'published' : 'unchanged';
    printJson(context, bundleReceipt(status, [...all, ...refused.map(refusedNamePart)], frame));
  } else {
    for (const { policy, outcome } of published) {
      printPublished(context, policy.repository, outcome, tookMs);
    }
  }
  for (const { outcome } of parts) if (outcome.status === 'rejected') throw outcome.error;
  const [first] = refused;
  if (first) throw first.error;
  return EXIT.done;
}

function frameOf(
  drop: DropToPublish,
  repository: string | null,
  id: string | null,
  tookMs: number,
): ReceiptFrame {
  return {
    drop: drop.name,
    by: drop.by,
    repository,
    id,
    claim: drop.name,
    claimedAt: drop.at,
    finishedAt: toTimestamp(Date.now()),
    tookMs,
  };
}

function printPublished(
  { print }: CommandContext,
  repository: string,
  { status, snapshot, content, moves, leftOut }: PublishedOutcome,
  tookMs: number,
): void {
  const { manifests, blobs, warnings, mistakes = [] } = content;
  const bytes = [...blobs, ...manifests].reduce((sum, { size }) => sum + size, 0);
  print(`${status} ${repository} as snapshot ${snapshot}\n`);
  for (const { tag, from, to } of moves) {
    print(`  ${tag}: ${from ?? '(none)'} -> ${to ?? '(removed)'}\n`);
  }
  print(
    `  ${manifests.length} manifests, ${blobs.length} blobs, ${formatBytes(bytes)}, ${formatTime(tookMs)}\n`,
  );
  for (const { what, why } of leftOut) print(`  left out: ${what}: ${why}\n`);
  for (const warning of [...mistakes, ...warnings]) print(`  warning: ${warning}\n`);
}
