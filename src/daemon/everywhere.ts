/** One drop into all targets of its repository at once: for bundles, and for `dropdock publish`. */
import { allOrFirstError } from '../disk/hands.js';
import { nothingIngested } from '../disk/stored.js';
import { faultOf } from '../errors.js';
import type { StoreContext } from '../objects/context.js';
import { readCurrent } from '../objects/current.js';
import { publishDrops } from '../objects/publish-drops.js';
import type { DropOutcome, DropToPublish } from '../publish/drop.js';
import { type PublishResult, publishRepository } from '../publish/publish.js';
import { stageAndIngest } from '../publish/stage-drops.js';
import { endTransaction, newTransaction, type PublishContext } from '../publish/turn.js';
import type { ResolvedRepository } from '../settings/repository-policy.js';
import { LOCAL_TARGET } from '../settings/targets.js';
import {
  type Delivered,
  elsewhereOf,
  isHereOnly,
  overallOutcome,
  type Parcel,
  targetParts,
} from './parcel.js';
import type { Services } from './services.js';

export interface DropWithContent {
  readonly drop: DropToPublish;
  readonly staged: Parcel['staged'];
}

/** @returns outcomes in the order of the drops @throws what keeps it from its flip */
export async function publishToStore(
  { stores }: Pick<Services, 'stores'>,
  target: string,
  { policy, transaction }: Pick<Parcel, 'policy' | 'transaction'>,
  drops: readonly DropWithContent[],
): Promise<{ readonly outcomes: DropOutcome[]; readonly later: readonly Error[] }> {
  const context = await stores.open(target);
  const given = drops.map(({ drop, staged }) => ({
    content: staged.content,
    origin: { drop: drop.name, at: drop.at },
  }));
  const { outcomes, later } = await publishDrops({ context, policy, transaction }, given);
  await remember(context, policy);
  return {
    later,
    outcomes: drops.map(({ drop, staged }, at): DropOutcome => {
      const outcome = outcomes[at];
      if (outcome === undefined) throw new Error(`no outcome for ${drop.name}`);
      return outcome.status === 'rejected'
        ? { drop, ...outcome }
        : { drop, ...staged, ...outcome, leftOut: [...staged.content.leftOut, ...outcome.leftOut] };
    }),
  };
}

/**
 * @throws the first target's failure, when all have ended: what others have got is unchanged for them
 *   when it is tried again
 */
export async function publishEverywhere(
  services: Services,
  context: PublishContext,
  policy: ResolvedRepository,
  drop: DropToPublish,
): Promise<PublishResult> {
  if (isHereOnly(policy)) return publishRepository(context, policy, [drop]);
  const { roots, run } = context;
  const transaction = newTransaction(context);
  try {
    await run('begin', { roots, transaction });
    const staged = await stageDrop(services, context, policy, drop, transaction);
    const delivered = new Map<string, Delivered>();
    const results = await allOrFirstError(
      policy.targets.map(async (target): Promise<Omit<PublishResult, 'outcomes'>> => {
        const given = { ...drop, staged: staged.content };
        const result =
          target === LOCAL_TARGET
            ? await publishRepository(context, policy, [given])
            : {
                mended: [],
                removed: [],
                files: 0,
                ...(await publishToStore(services, target, { policy, transaction }, [
                  { drop: given, staged },
                ])),
              };
        const [outcome] = result.outcomes;
        if (outcome === undefined) throw new Error(`no outcome for ${drop.name}`);
        if (outcome.status === 'retry') throw outcome.error;
        delivered.set(target, { outcome, retries: 0 });
        return result;
      }),
    );
    const overall = overallOutcome({ policy, delivered });
    if (overall === undefined) throw new Error(`no outcome for ${drop.name}`);
    const targets = targetParts({ policy, delivered });
    const outcome =
      overall.status === 'rejected'
        ? { ...overall, drop }
        : { ...overall, drop, ingested: staged.ingested, targets };
    return {
      outcomes: [outcome],
      mended: results.flatMap(({ mended }) => mended),
      later: results.flatMap(({ later }) => later),
      removed: results.flatMap(({ removed }) => removed),
      files: results.reduce((sum, { files }) => sum + files, 0),
    };
  } finally {
    await endTransaction(context, transaction).catch(() => {
      // It is tried again.
    });
  }
}

/** Reads a drop, judged by what all of its targets serve, and stores what it brings. */
export async function stageDrop(
  services: Services,
  context: PublishContext,
  policy: ResolvedRepository,
  drop: DropToPublish,
  transaction: string,
): Promise<Parcel['staged']> {
  if (drop.staged) {
    const nothing = nothingIngested();
    return { content: drop.staged, ingested: nothing };
  }
  const { id } = policy;
  const elsewhere = elsewhereOf(policy);
  for (const target of elsewhere ?? []) await lookAgain(services, target, policy);
  const base = await services.run('localBase', { roots: context.roots, id });
  return stageAndIngest(context, { id, base, transaction, drop, elsewhere });
}

/** Others may have published. A store that is away is judged by what it was seen to have. */
async function lookAgain(
  { stores }: Services,
  target: string,
  policy: ResolvedRepository,
): Promise<void> {
  try {
    const context = await stores.open(target);
    const before = context.memory.get(policy.id)?.etag;
    const now = await readCurrent(context.store, context.memory, policy.id);
    if (now?.etag !== before) await remember(context, policy);
  } catch (error) {
    if (faultOf(error) === 'bug') throw error;
  }
}

/** For thin drops to a repository that the directory knows nothing of. */
async function remember(
  { memory, run, roots, store: { target } }: StoreContext,
  policy: ResolvedRepository,
): Promise<void> {
  const text = memory.get(policy.id)?.base.text;
  if (text === undefined || elsewhereOf(policy) === undefined) return;
  await run('rememberElsewhere', { roots, target, id: policy.id, text });
}
