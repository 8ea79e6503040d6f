/**
 * Makes a repository in one target what it is in another. What is there already is not sent again, so
 * a copy that was interrupted continues where it was; content passes through this machine's content store.
 */

import type { RepositoryId } from '../image/names.js';
import { publishDrop } from '../publisher/publish-once.js';
import type { NeededContent, PublishedOutcome, Target } from '../publisher/target.js';
import { toTimestamp } from '../repository/timestamp.js';
import { resolveRepository } from '../settings/repository-policy.js';
import { nothingIngested } from '../storage/stored.js';
import { inTransaction } from '../storage/transaction.js';
import { restage, restageNeeds } from '../targets/restage.js';
import type { Services } from './services.js';

export interface Copy {
  readonly from: Target;
  readonly to: Target;
}

export interface CopyProgress {
  /** Called once it is known how many bytes a repository has. */
  readonly onTotal: (bytes: number) => void;
  readonly onBytes: (count: number) => void;
}

/** Undefined for a repository that was removed, or is not in the source. */
export type Copied = Pick<PublishedOutcome, 'status' | 'snapshot' | 'moves'> | undefined;

/** @throws what a publish throws; the target is then as it was */
export async function copyRepository(
  services: Services,
  copy: Copy,
  id: RepositoryId,
  progress: CopyProgress,
): Promise<Copied> {
  const { run, roots, transactions } = services;
  const transaction = transactions.next();
  // Begun before the source is read: what that needs stays in the content store until the end.
  return inTransaction(run, { roots, transaction }, () =>
    copyInto(services, transaction, copy, id, progress),
  );
}

async function copyInto(
  { run, roots, settings, nowMs }: Services,
  transaction: string,
  { from, to }: Copy,
  id: RepositoryId,
  { onTotal, onBytes }: CopyProgress,
): Promise<Copied> {
  const source = await from.currentText(id);
  if (source === undefined) return undefined;
  const { repository, removed, needs } = await run(restageNeeds, { source });
  if (removed) return undefined;
  onTotal(bytesOf(needs));
  // Operators are not bound by immutableTags.
  const policy = { ...resolveRepository(settings, repository), immutableTags: [] };
  const lacking = await to.lacking(needs);
  onBytes(bytesOf(needs) - bytesOf(lacking));
  await from.fetch(lacking, { transaction, onBytes });
  const content = await run(restage, { roots, source });
  // A publish sends what its snapshot adds: this also replaces what the target has lost.
  await to.send(lacking);
  const origin = { drop: `copy of ${from.name}`, at: toTimestamp(nowMs()) };
  const drop = { origin, path: undefined, content, ingested: nothingIngested() };
  const outcome = await publishDrop(to, { ...policy, mode: 'replace' }, drop);
  if (outcome.status === 'rejected') throw outcome.error;
  return outcome;
}

function bytesOf(needs: readonly NeededContent[]): number {
  return needs.reduce((sum, { size }) => sum + size, 0);
}
