/**
 * Claims quiet drops in batches: one job examines, claims and stores many. Their content is protected from
 * the sweep until each of them has its receipt.
 */
import { crash } from '../crash.js';
import { faultOf, fromPlainError } from '../errors.js';
import type { Observation } from '../inbox/scan.js';
import type { Verdict } from '../inbox/settle.js';
import type { Held } from '../publisher/drop-record.js';
import { hashedBytes } from '../publisher/stage-drop.js';
import type { StoredDrop } from '../publisher/stored-drop.js';
import { elsewhereOf } from '../settings/target-settings.js';
import {
  type ClaimAnswer,
  type ClaimedOne,
  claimBatch,
  type DropToClaim,
} from '../staging/claim-batch.js';
import { endTransaction } from '../storage/transaction.js';
import { claimRequest, resolveDrop } from './claimed-drop.js';
import type { Services } from './services.js';

/** Large enough to sync once for many drops, small enough that a drop does not wait long for the others. */
const BATCH_MAX = 250;
/** Jobs that run at the same time; the limit leaves threads for publishing. */
const JOBS_MAX = 2;
/** Each stored drop keeps about 10 KB in memory until its receipt; drops beyond the limit are stored later. */
const HELD_MAX = 2000;

export interface Claimed extends Partial<Pick<ClaimedOne, 'claim' | 'uid'>> {
  readonly verdict: Verdict;
  /** The stored content. */
  readonly held?: Held;
}

interface Asked {
  readonly request: DropToClaim;
  readonly resolve: (claimed: Claimed) => void;
  readonly reject: (error: Error) => void;
}

export class Claiming {
  readonly #services: Services;
  readonly #waiting: Asked[] = [];
  #running = 0;
  #held = 0;
  #isPlanned = false;

  constructor(services: Services) {
    this.#services = services;
  }

  /**
   * Examines a drop, and claims it if it is complete.
   * @param isDue true: its settle.timeout is over, so it is claimed although content is missing
   * @throws system errors and bugs
   */
  claim(seen: Observation, isDue = false): Promise<Claimed> {
    const request = requestOf(this.#services, seen, isDue);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ request, resolve, reject });
      this.#plan();
    });
  }

  /** Starts in a microtask, so that all drops of one scan are in the same batch. */
  #plan(): void {
    if (this.#isPlanned) return;
    this.#isPlanned = true;
    queueMicrotask(() => {
      this.#isPlanned = false;
      this.#start();
    });
  }

  #start(): void {
    while (this.#waiting.length > 0 && this.#running < JOBS_MAX) {
      this.#run(this.#nextBatch()).catch(crash);
    }
  }

  /** Returns one job's share of the queue. Drops of one repository stay together: they make one snapshot. */
  #nextBatch(): Asked[] {
    const waiting = this.#waiting.splice(0);
    const share = Math.ceil(waiting.length / (JOBS_MAX - this.#running));
    const size = Math.min(share, BATCH_MAX);
    const batch: Asked[] = [];
    // In order of arrival; a group is split only if it exceeds the room left.
    for (const group of groupByRepository(waiting)) {
      const room = batch.length < size ? BATCH_MAX - batch.length : 0;
      batch.push(...group.slice(0, room));
      this.#waiting.push(...group.slice(room));
    }
    return batch;
  }

  async #run(asked: readonly Asked[]): Promise<void> {
    const { roots, uid, run, transactions } = this.#services;
    const transaction = transactions.next();
    const isRoom = this.#held < HELD_MAX;
    const drops = asked.map(({ request }) =>
      isRoom ? request : { ...request, ingest: undefined },
    );
    const end = () =>
      endTransaction(run, { roots, transaction }).catch(() => {
        // It is retried later.
      });
    this.#running++;
    try {
      const { answers, isLeft } = await run(claimBatch, { roots, uid, transaction, drops });
      if (isLeft) await end();
      const holder = new Holder(end, (change) => {
        this.#held += change;
      });
      for (const answer of answers) this.#tell(answer);
      for (const [at, answer] of answers.entries()) settle(asked[at] as Asked, answer, holder);
      this.#waiting.unshift(...asked.slice(answers.length));
    } catch (error) {
      // The job may have created files before it failed.
      await end();
      for (const each of asked) each.reject(error as Error);
    } finally {
      this.#running--;
      this.#start();
    }
  }

  #tell(answer: ClaimAnswer): void {
    if ('error' in answer) return;
    const { emit } = this.#services.events;
    for (const step of ['examine', 'claim', 'read'] as const) {
      emit({ type: 'step.done', step, tookMs: answer.steps[step] });
    }
    if (answer.stored) emit({ type: 'content.hashed', bytes: hashedBytes(answer.stored) });
  }
}

/** Groups by repository, ordered by each group's first drop; a bundle is a group of its own. */
function groupByRepository(all: readonly Asked[]): Asked[][] {
  const groups = new Map<unknown, Asked[]>();
  for (const asked of all) {
    const key = asked.request.examine?.id ?? asked;
    const group = groups.get(key);
    if (group) group.push(asked);
    else groups.set(key, [asked]);
  }
  return [...groups.values()];
}

/** Ends the transaction that protects a batch's content from the sweep when its last drop is done. */
class Holder {
  readonly #held = new Set<object>();

  /** @param count called with 1 for each drop held, and with -1 for each drop released */
  constructor(
    readonly end: () => Promise<void>,
    readonly count: (change: 1 | -1) => void,
  ) {}

  hold(stored: StoredDrop): Held {
    this.#held.add(stored);
    this.count(1);
    return { stored, release: () => this.#release(stored) };
  }

  async #release(stored: StoredDrop): Promise<void> {
    if (!this.#held.delete(stored)) return;
    this.count(-1);
    if (this.#held.size === 0) await this.end();
  }
}

function settle({ resolve, reject }: Asked, answer: ClaimAnswer, holder: Holder): void {
  if ('error' in answer) reject(fromPlainError(answer.error));
  else if (answer.stored === undefined) {
    const { verdict, claim, uid } = answer;
    resolve({ verdict, claim, uid });
  } else resolve({ ...answer, held: holder.hold(answer.stored) });
}

function requestOf(services: Services, seen: Observation, isDue: boolean): DropToClaim {
  const { roots, inbox, settings } = services;
  const { path, kind } = seen;
  const take = claimRequest(services, seen);
  const resolved = isDue ? undefined : resolveOrRefuse(services, seen);
  if (!resolved) return { examine: undefined, take, ingest: undefined };
  const { policy, name } = resolved;
  const elsewhere = policy && elsewhereOf(policy);
  const examine = { roots, inbox, id: policy?.id, path, kind, tag: name.tag, elsewhere };
  return { examine, take, ingest: kind === 'directory' ? settings.ingest : undefined };
}

/** Returns undefined for an invalid name; the drop is rejected after its claim. */
function resolveOrRefuse(
  { settings }: Services,
  { path, kind }: Observation,
): ReturnType<typeof resolveDrop> | undefined {
  try {
    return resolveDrop(settings, path, kind);
  } catch (error) {
    if (faultOf(error) === 'content') return undefined;
    throw error;
  }
}
