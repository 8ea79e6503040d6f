/**
 * Drops that are still, on their way to being claims: looked at, taken and stored together, many to a
 * job. What is stored stays until each has had its turn.
 */
import { crash } from '../crash.js';
import { faultOf, fromPlainError } from '../errors.js';
import type { Observation } from '../inbox/scan.js';
import type { Verdict } from '../inbox/settle.js';
import type { StagedEarly } from '../publish/drop.js';
import { endTransaction, newTransaction } from '../publish/turn.js';
import type { Examined, TakeAnswer, TakeRequest } from '../threads/take-together.js';
import { Crowds } from './crowds.js';
import { claimRequest, resolveDrop } from './intake-hooks.js';
import { elsewhereOf, isHereOnly } from './parcel.js';
import type { Services } from './services.js';

/** Many wait for the disk once; nobody waits for many more than these. */
const TOGETHER_MAX = 250;
/** Jobs at once: as many more wait here, so that publishing has its share of the threads. */
const JOBS_MAX = 2;
/** Each keeps some 10 KB of what was read until its turn; who comes when there are more is read then. */
const EARLY_MAX = 2000;
/** So long a turn waits for others of its repository that are being taken: they make one snapshot. */
const GATHER_MS = 1000;

export interface Taken extends Partial<Pick<Examined, 'claim'>> {
  readonly verdict: Verdict;
  /** What was stored of it. */
  readonly early?: Held;
}

/** What was stored early, and is kept until it is released. */
export interface Held {
  readonly staged: StagedEarly;
  /** Its turn is over, or will not come. May be called again. */
  readonly release: () => void;
}

interface Asked {
  readonly request: TakeRequest;
  readonly resolve: (taken: Taken) => void;
  readonly reject: (error: Error) => void;
}

export class Taking {
  readonly #services: Services;
  readonly #waiting: Asked[] = [];
  readonly #crowds = new Crowds(GATHER_MS);
  #running = 0;
  #early = 0;
  #isPlanned = false;

  constructor(services: Services) {
    this.#services = services;
  }

  /**
   * Where it turns out to be whole, it is taken by the way.
   * @param isDue its time is up: it is taken whatever is missing
   * @throws system errors, and bugs
   */
  async take(seen: Observation, isDue = false): Promise<Taken> {
    const request = requestOf(this.#services, seen, isDue);
    const id = request.examine?.id;
    this.#crowds.enter(id);
    try {
      return await new Promise((resolve, reject) => {
        this.#waiting.push({ request, resolve, reject });
        this.#plan();
      });
    } finally {
      this.#crowds.leave(id);
    }
  }

  /** When no other drop of a repository is on its way to be taken, or it has taken too long. */
  settled(id: string): Promise<void> | undefined {
    return this.#crowds.gone(id);
  }

  /** All that one look has found goes together. */
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
      const share = Math.ceil(this.#waiting.length / (JOBS_MAX - this.#running));
      this.#run(this.#waiting.splice(0, Math.min(share, TOGETHER_MAX))).catch(crash);
    }
  }

  async #run(asked: readonly Asked[]): Promise<void> {
    const { roots, uid, run, owner, nowMs } = this.#services;
    const transaction = newTransaction({ owner: owner.token, nowMs });
    const isRoom = this.#early < EARLY_MAX;
    const drops = asked.map(({ request }) =>
      isRoom ? request : { ...request, ingest: undefined },
    );
    const end = () => {
      endTransaction(this.#services, transaction).catch(() => {
        // It is tried again.
      });
    };
    this.#running++;
    try {
      const { answers, isLeft } = await run('takeTogether', { roots, uid, transaction, drops });
      if (isLeft) end();
      const holder = new Holder(end, (change) => {
        this.#early += change;
      });
      for (const [at, each] of asked.entries()) {
        const answer = answers[at];
        if (answer === undefined) this.#waiting.unshift(each);
        else settle(each, answer, holder);
      }
    } catch (error) {
      // What it began with may lie there.
      end();
      for (const each of asked) each.reject(error as Error);
    } finally {
      this.#running--;
      this.#start();
    }
  }
}

/** Removes what keeps the content of a job from the sweep when the last of its drops is done. */
class Holder {
  readonly #held = new Set<object>();

  /** @param count is told of each that is held, and of each that is not any more */
  constructor(
    readonly end: () => void,
    readonly count: (change: 1 | -1) => void,
  ) {}

  hold(staged: StagedEarly): Held {
    this.#held.add(staged);
    this.count(1);
    return { staged, release: () => this.#release(staged) };
  }

  #release(staged: StagedEarly): void {
    if (!this.#held.delete(staged)) return;
    this.count(-1);
    if (this.#held.size === 0) this.end();
  }
}

function settle({ resolve, reject }: Asked, answer: TakeAnswer, holder: Holder): void {
  if ('error' in answer) reject(fromPlainError(answer.error));
  else if (answer.early === undefined) resolve({ verdict: answer.verdict, claim: answer.claim });
  else resolve({ ...answer, early: holder.hold(answer.early) });
}

function requestOf(services: Services, seen: Observation, isDue: boolean): TakeRequest {
  const { roots, inbox, settings } = services;
  const { path, kind } = seen;
  const take = claimRequest(services, seen);
  const resolved = isDue ? undefined : resolveOrRefuse(services, seen);
  if (!resolved) return { examine: undefined, take, ingest: undefined, convert: false };
  const { policy, name } = resolved;
  const elsewhere = policy && elsewhereOf(policy);
  const isEarly = kind === 'directory' && policy !== undefined && isHereOnly(policy);
  return {
    examine: { roots, inbox, id: policy?.id, path, kind, tag: name.tag, elsewhere },
    take,
    ingest: isEarly ? settings.ingest : undefined,
    convert: policy?.redirectOci === 'convert',
  };
}

/** Undefined for a name that can never be one: whoever dropped it is told when it is taken. */
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
