/**
 * A bundle is a drop for several repositories. It is read and stored once; then each repository is
 * published on its own, by the same steps. All are checked before the first is flipped.
 */
import { faultOf } from '../errors.js';
import { type RefusedName, type SplitBundle, splitBundle } from '../image/bundle.js';
import type { RepositoryName } from '../image/names.js';
import type { DropOutcome, DropToPublish } from './drop.js';
import type { RepositoryPolicy } from './next-snapshot.js';
import { type PublishResult, publishRepository } from './publish.js';
import { stageAndIngest } from './stage-drops.js';
import { endTransaction, newTransaction, type PublishContext } from './turn.js';

export interface BundleToPublish {
  readonly drop: DropToPublish;
  /** Where the bundle lies, below the inbox. */
  readonly namespace: string;
  readonly policyOf: (repository: RepositoryName) => RepositoryPolicy;
  /** Publishes one part, wherever it is to go; to the directory where this is left out. */
  readonly publish?: (repository: RepositoryName, drop: DropToPublish) => Promise<PublishResult>;
}

export interface BundlePart {
  readonly repository: RepositoryName;
  readonly outcome: DropOutcome;
}

export type BundleOutcome =
  | {
      readonly status: 'published' | 'unchanged';
      readonly parts: readonly BundlePart[];
      /** Names inside it for which there is no repository. */
      readonly refused: readonly RefusedName[];
      readonly results: readonly PublishResult[];
    }
  | { readonly status: 'rejected'; readonly error: Error };

/** @throws system errors: try it again; what was published meanwhile will be unchanged */
export async function publishBundle(
  context: PublishContext,
  bundle: BundleToPublish,
): Promise<BundleOutcome> {
  const { roots, run } = context;
  const transaction = newTransaction(context);
  try {
    await run('begin', { roots, transaction });
    const { parts: contents, refused } = await checkAll(context, bundle, transaction);
    const parts: BundlePart[] = [];
    const results: PublishResult[] = [];
    for (const [repository, staged] of contents) {
      const drop = { ...bundle.drop, staged };
      const result = await (bundle.publish?.(repository, drop) ??
        publishRepository(context, bundle.policyOf(repository), [drop]));
      const [outcome] = result.outcomes;
      if (outcome === undefined) continue;
      if (outcome.status === 'retry') throw outcome.error;
      parts.push({ repository, outcome });
      results.push(result);
    }
    const isNew = parts.some(({ outcome }) => outcome.status === 'published');
    return { status: isNew ? 'published' : 'unchanged', parts, refused, results };
  } catch (error) {
    if (faultOf(error) !== 'content') throw error;
    return { status: 'rejected', error: error as Error };
  } finally {
    await endTransaction(context, transaction).catch(() => {
      // It is tried again.
    });
  }
}

/**
 * @throws the first content error of any part, and of the names where none can be used: then nothing is
 *   published
 */
async function checkAll(
  context: PublishContext,
  { drop, namespace, policyOf }: BundleToPublish,
  transaction: string,
): Promise<SplitBundle> {
  const { roots, run } = context;
  const request = { id: undefined, base: null, transaction, drop };
  const { content } = await stageAndIngest(context, request);
  const split = splitBundle(content, namespace);
  for (const [repository, staged] of split.parts) {
    const origin = { drop: drop.name, at: drop.at };
    await run('checkMerge', { roots, policy: policyOf(repository), content: staged, origin });
  }
  return split;
}
