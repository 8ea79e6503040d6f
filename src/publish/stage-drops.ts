/** Step 4 of a publish: reads the drops, and brings what is new into the content store. */
import type { BlobToIngest } from '../disk/blob-bytes.js';
import { allOrFirstError } from '../disk/hands.js';
import { type Ingested, nothingIngested } from '../disk/stored.js';
import { faultOf, fromPlainError } from '../errors.js';
import type { StagedContent } from '../image/staged-content.js';
import {
  type DropOutcome,
  type DropToPublish,
  earlyOf,
  type StageAnswer,
  type StageRequest,
  type StageResult,
} from './drop.js';
import type { PublishContext, Turn } from './turn.js';

export interface StagedDrop {
  readonly drop: DropToPublish;
  readonly content: StagedContent;
  readonly ingested: Record<Ingested, number>;
}

/** Hashed in some milliseconds: less is not worth another thread, more is worth one. */
const BATCH_BYTES_MAX = 4 * 1024 * 1024;
const BATCH_BLOBS_MAX = 500;

/** Step 4 for one drop: reads it, and brings what is new into the content store. */
export async function stageAndIngest(
  context: PublishContext,
  request: Omit<StageRequest, 'roots' | 'uid'>,
): Promise<Pick<StagedDrop, 'content' | 'ingested'>> {
  const { roots, uid } = context;
  return ingestRest(context, await context.run('stage', { roots, uid, ...request }));
}

/** What was too large to be hashed by the way. */
async function ingestRest(
  { roots, run, uid }: PublishContext,
  { content, blobs, ingested }: StageResult,
): Promise<Pick<StagedDrop, 'content' | 'ingested'>> {
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

/** Directories read together wait for the disk together; more of them are worth another thread. */
export const TOGETHER_MAX = 25;

/** Step 4: archives each for itself, directories together. @returns in the order of the drops: of two for one tag the later wins */
export function stageAll(
  turn: Turn,
  drops: readonly DropToPublish[],
): Promise<StagedDrop | DropOutcome>[] {
  const { context, policy, transaction, base } = turn;
  const { roots, run, uid } = context;
  const request = { id: policy.id, base, transaction };
  const stages = new Map<DropToPublish, Promise<StagedDrop | DropOutcome>>();
  const directories: DropToPublish[] = [];
  for (const drop of drops) {
    const { staged: content } = drop;
    const early = earlyOf(drop, base);
    if (content) stages.set(drop, Promise.resolve({ drop, content, ingested: nothingIngested() }));
    else if (early) stages.set(drop, Promise.resolve({ drop, ...early }));
    else if (drop.kind === 'directory') directories.push(drop);
    else stages.set(drop, outcomeOf(drop, stageAndIngest(context, { ...request, drop })));
  }
  for (let at = 0; at < directories.length; at += TOGETHER_MAX) {
    const together = directories.slice(at, at + TOGETHER_MAX);
    const answers = run('stageTogether', { ...request, roots, uid, drops: together });
    for (const [nth, drop] of together.entries()) {
      const own = answers.then((all) => stagedFrom(turn, drop, all[nth]));
      stages.set(drop, outcomeOf(drop, own));
    }
  }
  return drops.flatMap((drop) => stages.get(drop) ?? []);
}

/** The same for drops that were read when the turn was opened, or before. */
export function stagesRead(
  turn: Turn,
  drops: readonly DropToPublish[],
  read: readonly (StageAnswer | null)[],
): Promise<StagedDrop | DropOutcome>[] {
  return drops.flatMap((drop, at) => {
    if (turn.before[at]) return [];
    const answer = read[at];
    if (answer) return [outcomeOf(drop, stagedFrom(turn, drop, answer))];
    const early = earlyOf(drop, turn.base);
    return early ? [Promise.resolve({ drop, ...early })] : [];
  });
}

async function stagedFrom(
  { context, policy, transaction, base }: Turn,
  drop: DropToPublish,
  answer: StageAnswer | undefined,
): Promise<Pick<StagedDrop, 'content' | 'ingested'>> {
  if (answer === undefined) throw new Error(`no answer for ${drop.name}`);
  if ('isToStageAlone' in answer) {
    return stageAndIngest(context, { id: policy.id, base, transaction, drop });
  }
  if ('error' in answer) throw fromPlainError(answer.error);
  return ingestRest(context, answer);
}

async function outcomeOf(
  drop: DropToPublish,
  stage: Promise<Pick<StagedDrop, 'content' | 'ingested'>>,
): Promise<StagedDrop | DropOutcome> {
  try {
    return { drop, ...(await stage) };
  } catch (error) {
    if (faultOf(error) === 'bug') throw error;
    const status = faultOf(error) === 'content' ? 'rejected' : 'retry';
    return { status, drop, error: error as Error };
  }
}
