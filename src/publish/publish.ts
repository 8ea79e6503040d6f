/**
 * One repository's turn. The order of the steps is the promise (design.md 5):
 *
 *    1. the drops are claimed (by the caller)
 *    2. lock the repository
 *    3. read what the pivot names now
 *    4. read the drops; hash every new blob while it goes into the content store, synced
 *    5. merge, and render the next snapshot as a plain list of files
 *    6. build it under work/
 *    7. write the redirect file into it
 *    8. sync files, then directories; rename it to master/<id>/<timestamp>; sync that directory
 *    9. check that the lock is still ours and the pivot still what step 3 saw
 *   10. flip: one rename over web/<id>; sync web/
 *   11. put app/<id>.json in place; sync app/
 *   12. receipt, delete the claim (by the caller, through `finish`)
 *   13. remove stale snapshots
 *   14. unlock
 *
 * Before step 10 a failure is thrown and changes nothing a reader can see (I3). After it nothing
 * fails the publish (I4): what could not be done is in `later`, and the next visit does it.
 */
import type { BlobToIngest } from '../disk/blob-bytes.js';
import { allOrFirstError } from '../disk/hands.js';
import { type Ingested, nothingIngested } from '../disk/stored.js';
import { faultOf, fromPlainError } from '../errors.js';
import type { StagedContent } from '../image/staged-content.js';
import type { Timestamp } from '../snapshot/timestamp.js';
import type { BuildResult } from './build.js';
import type { DropOutcome, DropToPublish, StageRequest } from './drop.js';
import type { RepositoryPolicy } from './next-snapshot.js';
import {
  cleanAfter,
  commit,
  type PublishContext,
  type Turn,
  type TurnResult,
  withTurn,
} from './turn.js';

export interface PublishResult extends TurnResult {
  readonly outcomes: readonly DropOutcome[];
  /** Stale snapshots that went. */
  readonly removed: readonly Timestamp[];
  /** How many the new snapshot has; 0 where none was made. */
  readonly files: number;
}

/** Step 12 for one drop. When it throws, the drop stays claimed and is tried again. */
export type Finish = (outcome: DropOutcome) => Promise<void>;

/**
 * @throws lock.busy, lock.lost, pivot.moved and system errors before the flip: try all drops again
 */
export function publishRepository(
  context: PublishContext,
  policy: RepositoryPolicy,
  drops: readonly DropToPublish[],
  finish: Finish,
): Promise<PublishResult> {
  const origins = drops.map(({ name, at }) => ({ drop: name, at }));
  // 2, 3, 14
  return withTurn(context, policy, origins, async (turn) => {
    const published = await publishUnderLock(turn, drops);
    const outcomes = await finishAll(published.outcomes, finish); // 12
    return { outcomes, files: published.files, removed: await cleanAfter(turn) }; // 13
  });
}

interface StagedDrop {
  readonly drop: DropToPublish;
  readonly content: StagedContent;
  readonly ingested: Record<Ingested, number>;
}

async function publishUnderLock(
  turn: Turn,
  drops: readonly DropToPublish[],
): Promise<Pick<PublishResult, 'outcomes' | 'files'>> {
  const before = publishedBefore(turn, drops);
  const tried = await Promise.all(drops.map((drop) => before.get(drop) ?? stage(turn, drop))); // 4
  const staged = tried.filter((each): each is StagedDrop => !('status' in each));
  const settled = tried.filter((each): each is DropOutcome => 'status' in each);
  if (staged.length === 0) return { outcomes: settled, files: 0 };

  const { context, policy, transaction, base } = turn;
  const built = await context.run('build', {
    roots: context.roots,
    policy,
    transaction,
    base,
    nowMs: context.nowMs(),
    drops: staged.map(({ content, drop }) => ({
      content,
      origin: { drop: drop.name, at: drop.at },
    })),
  }); // 5 to 8
  const { snapshot, reason, files } = built;
  const unsynced = snapshot === null ? undefined : await commit(turn, snapshot, reason);
  const outcomes = toOutcomes(turn, staged, built);
  if (unsynced === undefined) return { outcomes: [...settled, ...outcomes], files };
  // It is published, and perhaps not on disk: the drops stay until a later visit has synced it.
  const again = outcomes.map(({ drop }) => ({ ...RETRY, drop, error: unsynced }));
  return { outcomes: [...settled, ...again], files };
}

/**
 * Drops that an earlier try published and whose receipt was not written. What was done to the
 * repository since (a rollback, an untag) must not be undone by publishing them once more.
 */
function publishedBefore(
  turn: Turn,
  drops: readonly DropToPublish[],
): Map<DropToPublish, DropOutcome> {
  return new Map(
    drops.flatMap((drop, at) => {
      const before = turn.before[at];
      if (!before) return [];
      const ingested = nothingIngested();
      return [[drop, { status: 'published', drop, ...before, ingested, leftOut: [] }]] as const;
    }),
  );
}

const RETRY = { status: 'retry' } as const;

/** Hashed in some milliseconds: less is not worth another thread, more is worth one. */
const BATCH_BYTES_MAX = 4 * 1024 * 1024;
const BATCH_BLOBS_MAX = 500;

/** Step 4 for one drop: reads it, and brings what is new into the content store. */
export async function stageAndIngest(
  { roots, run, uid }: PublishContext,
  request: Omit<StageRequest, 'roots' | 'uid'>,
): Promise<Pick<StagedDrop, 'content' | 'ingested'>> {
  const { content, blobs, ingested } = await run('stage', { roots, uid, ...request });
  if (blobs.length > 0) {
    await run('checkSpace', { place: roots.state, blobs: blobs.map((blob) => ({ ...blob, uid })) });
  }
  const batches = inBatches(blobs.map((blob) => ({ ...blob, uid })));
  const ways = await allOrFirstError(batches.map((batch) => run('ingest', { blobs: batch })));
  const all = { ...ingested };
  for (const way of ways.flat()) all[way]++;
  return { content, ingested: all };
}

/** The largest first, each for itself; of the small ones many together, for their sake. */
function inBatches(blobs: readonly BlobToIngest[]): BlobToIngest[][] {
  const batches: BlobToIngest[][] = [];
  let room = 0;
  for (const blob of [...blobs].sort((a, b) => b.size - a.size)) {
    const last = batches.at(-1);
    if (last && last.length < BATCH_BLOBS_MAX && blob.size <= room) last.push(blob);
    else {
      batches.push([blob]);
      room = BATCH_BYTES_MAX;
    }
    room -= blob.size;
  }
  return batches;
}

async function stage(turn: Turn, drop: DropToPublish): Promise<StagedDrop | DropOutcome> {
  const { context, policy, transaction, base } = turn;
  if (drop.staged) return { drop, content: drop.staged, ingested: nothingIngested() };
  try {
    const request = { id: policy.id, base, transaction, drop };
    return { drop, ...(await stageAndIngest(context, request)) };
  } catch (error) {
    if (faultOf(error) === 'bug') throw error;
    const status = faultOf(error) === 'content' ? 'rejected' : 'retry';
    return { status, drop, error: error as Error };
  }
}

function toOutcomes(
  { base }: Turn,
  staged: readonly StagedDrop[],
  { outcomes, snapshot, leftOut }: BuildResult,
): DropOutcome[] {
  return staged.flatMap(({ drop, content, ingested }, at): DropOutcome[] => {
    const merged = outcomes[at];
    if (merged === undefined) return [];
    if (!merged.ok) return [{ status: 'rejected', drop, error: fromPlainError(merged.error) }];
    const digests = new Set<string>(content.manifests.map(({ digest }) => digest));
    return [
      {
        status: snapshot === null ? 'unchanged' : 'published',
        drop,
        snapshot: snapshot ?? base,
        base,
        moves: merged.moves,
        content,
        ingested,
        leftOut: [...content.leftOut, ...leftOut.filter(({ what }) => digests.has(what))],
      },
    ];
  });
}

function finishAll(outcomes: readonly DropOutcome[], finish: Finish): Promise<DropOutcome[]> {
  return Promise.all(
    outcomes.map(async (outcome): Promise<DropOutcome> => {
      try {
        await finish(outcome);
        return outcome;
      } catch (error) {
        if (faultOf(error) === 'bug') throw error;
        return { status: 'retry', drop: outcome.drop, error: error as Error };
      }
    }),
  );
}
