/**
 * Copies a repository from one target to another. Content that the destination has is not sent again, so an
 * interrupted copy continues where it stopped. Content passes through this machine's content store.
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

export interface CopyOptions {
  /** The user who runs the command. */
  readonly by: string | undefined;
  /** Called when the number of bytes to copy is known. */
  readonly onTotal: (bytes: number) => void;
  readonly onBytes: (count: number) => void;
}

/** Undefined: the repository was removed, or is not in the source. */
export type Copied = Pick<PublishedOutcome, 'status' | 'snapshot' | 'moves'> | undefined;

/** @throws what a publish throws; the destination is then unchanged */
export async function copyRepository(
  services: Services,
  copy: Copy,
  id: RepositoryId,
  options: CopyOptions,
): Promise<Copied> {
  const { run, roots, transactions } = services;
  const transaction = transactions.next();
  // The transaction starts before the source is read: it protects the needed content from the sweep.
  return inTransaction(run, { roots, transaction }, () =>
    copyInto(services, transaction, copy, id, options),
  );
}

async function copyInto(
  { run, roots, settings, nowMs }: Services,
  transaction: string,
  { from, to }: Copy,
  id: RepositoryId,
  { by, onTotal, onBytes }: CopyOptions,
): Promise<Copied> {
  const source = await from.currentText(id);
  if (source === undefined) return undefined;
  const { repository, removed, needs } = await run(restageNeeds, { source });
  if (removed) return undefined;
  onTotal(bytesOf(needs));
  // immutableTags restricts drops, not operators.
  const policy = { ...resolveRepository(settings, repository), immutableTags: [] };
  const lacking = await to.lacking(needs);
  onBytes(bytesOf(needs) - bytesOf(lacking));
  await from.fetch(lacking, { transaction, onBytes });
  const content = await run(restage, { roots, source });
  // The publish below sends only what its snapshot adds; this also restores content the target has lost.
  await to.send(lacking);
  const origin = { drop: `copy of ${from.name}`, at: toTimestamp(nowMs()) };
  const drop = { origin, by, path: undefined, content, ingested: nothingIngested() };
  const outcome = await publishDrop(to, { ...policy, mode: 'replace' }, drop);
  if (outcome.status === 'rejected') throw outcome.error;
  return outcome;
}

function bytesOf(needs: readonly NeededContent[]): number {
  return needs.reduce((sum, { size }) => sum + size, 0);
}
