/**
 * Examines quiet drops, many in one job, claims the complete ones, and stores small ones at once: they were
 * just read, and the syncs are shared. Of the 13 syncs of a small drop 2 remain when very many arrive
 * together.
 */

import { type PlainError, toPlainError } from '../errors.js';
import type { Reading } from '../image/staged-content.js';
import { type ClaimRequest, type ClaimResult, claimDrop, claimUid } from '../inbox/claim.js';
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

/** Estimated files of a small drop. */
const FILES_PER_DROP = 4;
/**
 * After this time the job returns what it has, and the remaining drops are sent again. A longer time saves
 * syncs: of 2,000 drops 603 per second instead of 572 with 200 ms, and no more with a second.
 */
const LONG_MS = 500;

export interface DropToClaim {
  /** Undefined when the drop is claimed in any case: its timeout has passed, or its name will be refused. */
  readonly examine: ExamineRequest | undefined;
  readonly take: ClaimRequest;
  /** How its files may be stored; undefined when a separate job stores them. */
  readonly ingest: DropToPublish['ingest'] | undefined;
}

export interface ClaimBatchRequest {
  readonly roots: TreeRoots;
  /** Directory under work/. While it exists, stored content is not swept. */
  readonly transaction: string;
  readonly uid: number;
  readonly drops: readonly DropToClaim[];
}

export interface ClaimedOne {
  readonly verdict: Verdict;
  /** Result of the claim; undefined when the drop is not claimed yet. */
  readonly claim: ClaimResult | undefined;
  /** Owner of the claimed drop. */
  readonly uid?: number | undefined;
  /** Undefined when a separate job stores the drop and reports what is wrong with it. */
  readonly stored: StoredDrop | undefined;
  /** Duration of each step (ms). */
  readonly steps: Readonly<Record<'examine' | 'claim' | 'read', number>>;
}

export type ClaimAnswer = ClaimedOne | { readonly error: PlainError };

export interface ClaimedBatch {
  /** The transaction's directory could not be deleted. */
  readonly isLeft: boolean;
  /** Same order as the drops; when the job took long, only for the first of them. */
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
      // The drops are claimed, but none of their content is stored: each is staged by a separate job.
      return {
        isLeft: !given.leave(),
        answers: answers.map((each) => (isStored(each) ? { ...each, stored: undefined } : each)),
      };
    }
  },
);

const isStored = (answer: ClaimAnswer): answer is ClaimedOne & { stored: StoredDrop } =>
  'stored' in answer && answer.stored !== undefined;

/** Temporary directory for new files, created when the first drop needs it. */
class Room {
  #isThere = false;

  constructor(
    readonly disk: Disk,
    readonly request: ClaimBatchRequest,
  ) {}

  enter(): void {
    if (this.#isThere) return;
    // Even after an error a part of it may exist.
    this.#isThere = true;
    begin(this.disk, this.request);
  }

  /** @returns whether it was deleted completely */
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

/** The publish reports what is wrong with it. */
const AS_IT_IS: Finding = { verdict: { kind: 'refused' } };

function takeOne(disk: Disk, drop: DropToClaim, room: Room, into: IntoStore): ClaimAnswer {
  const { examine } = drop;
  const clock = new StepClock();
  try {
    if (examine === undefined) return conclude(disk, drop, AS_IT_IS, clock);
    if (examine.kind === 'file') return conclude(disk, drop, examineFile(disk, examine), clock);
    // Follows no link: the owner of a parent directory could replace it with a link at any time.
    const answer = InsideDirectory.useBelow(disk, examine.inbox, examine.path, (inside) => {
      const finding = examineDirectory(disk, examine, inside);
      return conclude(disk, drop, finding, clock, (reading, claim) => {
        const { inbox, own = inbox } = drop.take;
        const taken = claimPath(own, claim);
        return storeSmall(drop, room, into, { reading, inside, taken });
      });
    });
    return answer ?? { ...AS_IT_IS, claim: 'gone', stored: undefined, steps: clock.steps };
  } catch (error) {
    return { error: toPlainError(error) };
  }
}

/** Checks that the directory that was read is the one that was claimed; another one may have its name now. */
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
  const uid = isTaken ? claimUid(disk, { inbox: take.own ?? take.inbox, claim }) : undefined;
  return { verdict, claim, uid, stored, steps };
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
  /** Open since before the rename. */
  readonly inside: InsideDirectory;
  /** Path of the claimed drop. */
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
