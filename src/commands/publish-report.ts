/** What `dropdock publish` tells of what it did. */
import type { DropOutcome, DropToPublish, PublishedDrop } from '../publish/drop.js';
import type { BundleOutcome } from '../publish/publish-bundle.js';
import {
  bundleReceipt,
  publishedPart,
  publishedReceipt,
  type ReceiptFrame,
  refusedNamePart,
  rejectedReceipt,
} from '../report.js';
import type { ResolvedRepository } from '../settings/repository-policy.js';
import { toTimestamp } from '../snapshot/timestamp.js';
import { type CommandContext, EXIT, type ExitCode, formatBytes, printJson } from './context.js';

/** @throws the error of a drop that was refused, or could not be published now */
export function reportOutcome(
  context: CommandContext,
  outcome: DropOutcome,
  { repository, id }: Pick<ResolvedRepository, 'repository' | 'id'>,
  tookMs: number,
): ExitCode {
  if (outcome.status === 'retry') throw outcome.error;
  const frame = frameOf(outcome.drop, repository, id, tookMs);
  if (outcome.status === 'rejected') {
    if (context.json) printJson(context, rejectedReceipt(outcome.error, frame));
    throw outcome.error;
  }
  if (context.json) printJson(context, publishedReceipt(outcome, frame));
  else printPublished(context, repository, outcome, tookMs);
  return EXIT.done;
}

/** @throws the error of a bundle that was refused */
export function reportBundle(
  context: CommandContext,
  drop: DropToPublish,
  outcome: BundleOutcome,
  tookMs: number,
): ExitCode {
  const frame = frameOf(drop, null, null, tookMs);
  if (outcome.status === 'rejected') {
    if (context.json) printJson(context, rejectedReceipt(outcome.error, frame));
    throw outcome.error;
  }
  const published = outcome.parts.flatMap(({ repository, outcome: part }) =>
    part.status === 'published' || part.status === 'unchanged' ? [{ repository, part }] : [],
  );
  if (context.json) {
    const parts = published.map(({ repository, part }) => ({ repository, ...publishedPart(part) }));
    const all = [...parts, ...outcome.refused.map(refusedNamePart)];
    printJson(context, bundleReceipt(outcome.status, all, frame));
  } else {
    for (const { repository, part } of published) printPublished(context, repository, part, tookMs);
  }
  for (const { outcome: part } of outcome.parts) {
    if (part.status === 'rejected' || part.status === 'retry') throw part.error;
  }
  const [refused] = outcome.refused;
  if (refused) throw refused.error;
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
  { status, snapshot, content, moves, leftOut }: PublishedDrop,
  tookMs: number,
): void {
  const { manifests, blobs, warnings } = content;
  const bytes = [...blobs, ...manifests].reduce((sum, { size }) => sum + size, 0);
  const seconds = (tookMs / 1000).toFixed(2);
  print(`${status} ${repository} as snapshot ${snapshot}\n`);
  for (const { tag, from, to } of moves) print(`  ${tag}: ${from ?? 'new'} -> ${to ?? 'gone'}\n`);
  print(
    `  ${manifests.length} manifests, ${blobs.length} blobs, ${formatBytes(bytes)}, ${seconds} s\n`,
  );
  for (const { what, why } of leftOut) print(`  left out: ${what}: ${why}\n`);
  for (const warning of warnings) print(`  warning: ${warning}\n`);
}
