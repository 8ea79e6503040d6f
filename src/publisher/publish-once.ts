/** Publishes one drop to all targets of its repositories at once, without retries. Used by commands. */

import type { RefusedName } from '../image/bundle.js';
import type { RepositoryName } from '../image/names.js';
import type { ResolvedRepository } from '../settings/repository-policy.js';
import { elsewhereOf } from '../settings/target-settings.js';
import { allOrFirstError } from '../storage/job.js';
import { inTransaction, type TransactionNames } from '../storage/transaction.js';
import { type Delivered, newPart, overallOutcome, type Part, targetParts } from './drop-record.js';
import { partsOf, type StagingContext, stageDrop } from './stage-drop.js';
import type { DropToPublish, StoredDrop } from './stored-drop.js';
import type { RepositoryPolicy, StagedDrop, Target, TargetChange, Waiting } from './target.js';

export interface OnceContext extends StagingContext {
  readonly transactions: TransactionNames;
  readonly target: (name: string) => Target;
  readonly policyOf: (repository: RepositoryName) => ResolvedRepository;
  readonly lookAgain: (policy: ResolvedRepository) => Promise<void>;
}

/** The result for one repository. */
export interface PublishedPart {
  readonly policy: ResolvedRepository;
  readonly outcome: Delivered['outcome'];
  /** Result of each target; undefined when the directory is the only target. */
  readonly targets: Readonly<Record<string, object>> | undefined;
}

export interface PublishedOnce {
  readonly parts: readonly PublishedPart[];
  readonly refused: readonly RefusedName[];
}

export interface DropOnce {
  readonly drop: DropToPublish;
  /** Undefined for a bundle. */
  readonly repository: RepositoryName | undefined;
  readonly namespace: string;
}

/**
 * @throws content errors of the drop, or of the first part of a bundle that would be refused: nothing is
 *   published then; otherwise the first error of a target, after all have ended. A repeated publish finds the
 *   drop unchanged in targets that have it.
 */
export async function publishOnce(context: OnceContext, given: DropOnce): Promise<PublishedOnce> {
  const { roots, run, transactions } = context;
  const transaction = transactions.next();
  return inTransaction(run, { roots, transaction }, async () => {
    const stored = await readOnce(context, given, transaction);
    const { parts, refused } = partsOf({ ...given.drop, ...given }, stored);
    const all = parts.map(({ repository, staged }) =>
      newPart(context.policyOf(repository), staged),
    );
    if (given.repository === undefined) for (const part of all) await check(context, part);
    const published: PublishedPart[] = [];
    for (const part of all) {
      await publishPart(context, part);
      const { policy } = part;
      published.push({ policy, outcome: overallOutcome(part), targets: targetParts(part) });
    }
    return { parts: published, refused };
  });
}

async function readOnce(
  context: OnceContext,
  { drop, repository }: DropOnce,
  transaction: string,
): Promise<StoredDrop> {
  const policy = repository && context.policyOf(repository);
  if (policy) await context.lookAgain(policy);
  const elsewhere = policy && elsewhereOf(policy);
  return stageDrop(context, { id: policy?.id, transaction, drop, elsewhere });
}

async function check({ target }: OnceContext, { policy, staged }: Part): Promise<void> {
  for (const name of policy.targets) await target(name).check(policy, staged);
}

async function publishPart({ target }: OnceContext, part: Part): Promise<void> {
  const { policy, staged, delivered } = part;
  await allOrFirstError(
    policy.targets.map(async (name) => {
      const outcome = await publishDrop(target(name), policy, staged);
      delivered.set(name, { outcome, retries: 0 });
    }),
  );
}

/**
 * Publishes one drop to one target.
 * @throws errors before the flip, and errors that call for a retry
 */
export async function publishDrop(
  target: Target,
  policy: RepositoryPolicy,
  drop: StagedDrop,
  waiting?: Waiting,
): Promise<Delivered['outcome']> {
  const change: TargetChange = { kind: 'publish', drops: [drop] };
  const { outcomes } = await target.publish(policy, change, waiting);
  const [outcome] = outcomes;
  if (outcome === undefined) throw new Error(`no outcome for ${drop.origin.drop}`);
  if (outcome.status === 'retry') throw outcome.error;
  return outcome;
}
