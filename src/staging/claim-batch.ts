/**
 * Quiet drops, many in one job: is each complete? Then it is claimed, and a small one is brought into the
 * content store at once. It was just read, and what many bring together waits for the disk together:
 * of 13 syncs for a small drop 2 are left where very many come.
 */

import { type PlainError, toPlainError } from '../errors.js';
import type { Reading } from '../image/staged-content.js';
import { type ClaimRequest, type ClaimResult, claimDrop } from '../inbox/claim.js';
import { type Claim, claimPath } from '../inbox/inbox-paths.js';
import { isClaimable, type Verdict } from '../inbox/settle.js';
import type { DropToPublish, StoredDrop } from '../publisher/stored-drop.js';
import type { Disk } from '../storage/disk.js';
import { InsideDirectory } from '../storage/inside-directory.js';
import { IntoStore } from '../storage/into-store.js';
import { job } from '../storage/job.js';
import { begin, end } from '../storage/transaction.js';
import { type TreeRoots, workPath } from '../storage/tree-paths.js';
import { type ExamineRequest, examineDirectory, examineFile, type Finding } from './examine.js';
import { bringReading, isSmall } from './stage.js';

/** About so many files have these that are small. */
const FILES_PER_DROP = 4;
/**
 * The others wait no longer for their answers; what is left is given again. The longer, the fewer waits for the
 * disk: of 2,000 drops 603 per second instead of 572 with 200 ms, and no more with a second.
 */
const LONG_MS = 500;

export interface DropToClaim {
  /** Undefined where it is taken as it is: its time is up, or its name is to be refused. */
  readonly examine: ExamineRequest | undefined;
  readonly take: ClaimRequest;
  /** How its files may be stored; undefined where that is left to a job of its own. */
  readonly ingest: DropToPublish['ingest'] | undefined;
}

export interface ClaimBatchRequest {
  readonly roots: TreeRoots;
  /** Under work/: as long as it is there, nothing sweeps what was stored. */
  readonly transaction: string;
  readonly uid: number;
  readonly drops: readonly DropToClaim[];
}

export interface ClaimedOne {
  readonly verdict: Verdict;
  /** What came of taking it; undefined where it is not to be taken yet. */
  readonly claim: ClaimResult | undefined;
  /** Undefined where it is stored by a job of its own, which then tells what is wrong with it, too. */
  readonly stored: StoredDrop | undefined;
  /** How long each took (ms). */
  readonly steps: Readonly<Record<'examine' | 'claim' | 'read', number>>;
}

export type ClaimAnswer = ClaimedOne | { readonly error: PlainError };

export interface ClaimedBatch {
  /** What keeps the store from being swept could not be removed again. */
  readonly isLeft: boolean;
  /** In the order of the drops; where it took long only for the first of them. */
  readonly answers: readonly ClaimAnswer[];
}

export const claimBatch = job(
  'fast',
  import.meta.url,
  function claimBatch(disk: Disk, request: ClaimBatchRequest): ClaimedBatch {
    const { roots, transaction, drops } = request;
    const answers: ClaimAnswer[] = [];
    const beganMs = performance.now();
    const options = {
      place: workPath(roots, transaction),
      expected: drops.length * FILES_PER_DROP,
    };
    const given = new Room(disk, request);
    try {
      IntoStore.use(disk, options, (into) => {
        for (const drop of drops) {
          answers.push(takeOne(disk, drop, given, into));
          if (performance.now() - beganMs > LONG_MS) break;
        }
      });
      const isLeft = !answers.some(isStored) && !given.leave();
      return { answers, isLeft };
    } catch {
      // They are claimed, and nothing of them is in the store: each is stored again for itself.
      return {
        isLeft: !given.leave(),
        answers: answers.map((each) => (isStored(each) ? { ...each, stored: undefined } : each)),
      };
    }
  },
);

const isStored = (answer: ClaimAnswer): answer is ClaimedOne & { stored: StoredDrop } =>
  'stored' in answer && answer.stored !== undefined;

/** Where everything is written first; made when the first needs it. */
class Room {
  #isThere = false;

  constructor(
    readonly disk: Disk,
    readonly request: ClaimBatchRequest,
  ) {}

  enter(): void {
    if (this.#isThere) return;
    // Even where it fails, something of it may be there.
    this.#isThere = true;
    begin(this.disk, this.request);
  }

  /** @returns whether nothing of it is there any more */
  leave(): boolean {
    if (!this.#isThere) return true;
    try {
      end(this.disk, this.request);
      return true;
    } catch {
      return false;
    }
  }
}

/** Publishing it tells what is wrong with it. */
const AS_IT_IS: Finding = { verdict: { kind: 'refused' } };

function takeOne(disk: Disk, drop: DropToClaim, room: Room, into: IntoStore): ClaimAnswer {
  const { examine } = drop;
  const clock = new StepClock();
  try {
    if (examine === undefined) return conclude(disk, drop, AS_IT_IS, clock);
    if (examine.kind === 'file') return conclude(disk, drop, examineFile(disk, examine), clock);
    // Through no link: whoever owns a directory on the way may swap it for one at any moment.
    const answer = InsideDirectory.useBelow(disk, examine.inbox, examine.path, (inside) => {
      const finding = examineDirectory(disk, examine, inside);
      return conclude(disk, drop, finding, clock, (reading, claim) => {
        const taken = claimPath(examine.inbox, claim);
        return storeSmall(drop, room, into, { reading, inside, taken });
      });
    });
    return answer ?? { ...AS_IT_IS, claim: 'gone', stored: undefined, steps: clock.steps };
  } catch (error) {
    return { error: toPlainError(error) };
  }
}

/** What was read is what was taken: another directory may have got its name in between. */
function isSame(disk: Disk, inside: InsideDirectory, path: string): boolean {
  const read = inside.statSelf();
  const taken = disk.statIfThere(path);
  return taken !== undefined && taken.dev === read.dev && taken.ino === read.ino;
}

function conclude(
  disk: Disk,
  { take }: DropToClaim,
  { verdict, reading }: Finding,
  clock: StepClock,
  store: (reading: Reading, claim: Claim) => StoredDrop | undefined = () => undefined,
): ClaimedOne {
  const { steps } = clock;
  clock.took('examine');
  if (!isClaimable(verdict)) return { verdict, claim: undefined, stored: undefined, steps };
  const claim = claimDrop(disk, take);
  clock.took('claim');
  const isTaken = typeof claim !== 'string';
  const stored = isTaken && reading !== undefined ? store(reading, claim) : undefined;
  clock.took('read');
  return { verdict, claim, stored, steps };
}

class StepClock {
  readonly steps = { examine: 0, claim: 0, read: 0 };
  #lastMs = performance.now();

  took(step: keyof StepClock['steps']): void {
    const nowMs = performance.now();
    this.steps[step] = nowMs - this.#lastMs;
    this.#lastMs = nowMs;
  }
}

interface Found {
  readonly reading: Reading;
  /** Open since before it was renamed. */
  readonly inside: InsideDirectory;
  /** Where the drop lies now. */
  readonly taken: string;
}

function storeSmall(
  { take, ingest }: DropToClaim,
  room: Room,
  into: IntoStore,
  { reading, inside, taken }: Found,
): StoredDrop | undefined {
  if (ingest === undefined || !isSmall(reading.content.blobs)) return undefined;
  const drop = {
    name: take.path,
    path: inside.root,
    kind: 'directory',
    tolerateAbsent: false,
    ingest,
  } as const;
  const { roots, transaction, uid } = room.request;
  try {
    if (!isSame(into.disk, inside, taken)) return undefined;
    room.enter();
    const request = { roots, transaction, uid, drop };
    return into.together(() => {
      const { content, ingested } = bringReading(request, reading, into, inside);
      return { content, ingested };
    });
  } catch {
    return undefined;
  }
}
