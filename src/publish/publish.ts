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
import { nothingIngested } from '../disk/stored.js';
import { fromPlainError } from '../errors.js';
import type { Timestamp } from '../snapshot/timestamp.js';
import type { BuildResult } from './build.js';
import type { DropOutcome, DropToPublish, ReadAndBuilt } from './drop.js';
import type { Opened } from './jobs.js';
import type { RepositoryPolicy } from './next-snapshot.js';
import { type StagedDrop, stageAll, stagesRead, TOGETHER_MAX } from './stage-drops.js';
import {
  cleanAfter,
  commit,
  type Open,
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

/** Step 12. @returns the drops that stay claimed and are tried again, and why */
export type Finish = (
  outcomes: readonly DropOutcome[],
) => Promise<ReadonlyMap<DropToPublish, Error>>;

/**
 * @throws lock.busy, lock.lost, pivot.moved and system errors before the flip: try all drops again
 */
export function publishRepository(
  context: PublishContext,
  policy: RepositoryPolicy,
  drops: readonly DropToPublish[],
  finish: Finish = async () => new Map(),
): Promise<PublishResult> {
  const origins = drops.map(({ name, at }) => ({ drop: name, at }));
  // 2, 3, 14
  return withTurn(
    context,
    policy,
    origins,
    openerOf(context, policy, drops),
    async (turn, opened) => {
      const published = await publishUnderLock(turn, drops, opened);
      const failed = await finish(published.outcomes); // 12
      const outcomes = published.outcomes.map((outcome): DropOutcome => {
        const error = failed.get(outcome.drop);
        return error ? { ...RETRY, drop: outcome.drop, error } : outcome;
      });
      return { outcomes, files: published.files, removed: await cleanAfter(turn) }; // 13
    },
  );
}

/** Small turns go on to step 8 where they read the pivot. */
function openerOf(
  { run, uid, nowMs, clock }: PublishContext,
  policy: RepositoryPolicy,
  drops: readonly DropToPublish[],
): Open<Opened & Partial<ReadAndBuilt>> {
  // What leaves content out may have to be read again.
  const toRead = drops.filter(({ early }) => early === undefined || early.base !== undefined);
  const isSmall =
    toRead.length <= TOGETHER_MAX &&
    drops.every(({ kind, staged }) => kind === 'directory' && !staged);
  if (!isSmall) return (open) => run('openTurn', open);
  return (open) =>
    run('readAndBuild', { open, policy, uid, nowMs: nowMs(), clock: clock(), drops });
}

async function publishUnderLock(
  turn: Turn,
  drops: readonly DropToPublish[],
  { read, built: builtAlready }: Partial<ReadAndBuilt>,
): Promise<Pick<PublishResult, 'outcomes' | 'files'>> {
  const before = publishedBefore(turn, drops);
  const left = drops.filter((drop) => !before.has(drop));
  const stages = read ? stagesRead(turn, drops, read) : stageAll(turn, left);
  const tried = await Promise.all([...before.values(), ...stages]); // 4
  const staged = tried.filter((each): each is StagedDrop => !('status' in each));
  const settled = tried.filter((each): each is DropOutcome => 'status' in each);
  if (staged.length === 0) return { outcomes: settled, files: 0 };
  const built = builtAlready ?? (await build(turn, staged)); // 5 to 8
  const { snapshot, reason, files } = built;
  const unsynced = snapshot === null ? undefined : await commit(turn, snapshot, reason);
  const outcomes = toOutcomes(turn, staged, built);
  if (unsynced === undefined) return { outcomes: [...settled, ...outcomes], files };
  // It is published, and perhaps not on disk: the drops stay until a later visit has synced it.
  const again = outcomes.map(({ drop }) => ({ ...RETRY, drop, error: unsynced }));
  return { outcomes: [...settled, ...again], files };
}

function build(turn: Turn, staged: readonly StagedDrop[]): Promise<BuildResult> {
  const { context, policy, transaction, base } = turn;
  const { roots, run, nowMs, clock } = context;
  const drops = staged.map(({ content, drop }) => ({
    content,
    origin: { drop: drop.name, at: drop.at },
  }));
  const times = { nowMs: nowMs(), clock: clock() };
  return run('build', { roots, policy, transaction, base, ...times, drops });
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
