/** Maintenance of a published tree: completes interrupted work, cleans, verifies and repairs. */

import { DropdockError, faultOf, isSystemError } from '../../errors.js';
import type { RepositoryId } from '../../image/names.js';
import { type EmitEvent, timed } from '../../publisher/events.js';
import type {
  CleanedRepository,
  CleanResult,
  NotDone,
  PublishResult,
  RepairResult,
  StartResult,
  VerifyFinding,
  VerifyReport,
  VerifyResult,
} from '../../publisher/target.js';
import type { ClockReading } from '../../repository/elapsed.js';
import type { RepositoryPolicy } from '../../repository/next-state.js';
import type { Timestamp } from '../../repository/timestamp.js';
import type { RunJob } from '../../storage/job.js';
import {
  type LockOptions,
  lockRepository,
  type RepositoryLock,
} from '../../storage/repository-lock.js';
import { workOwners } from '../../storage/transaction.js';
import { emptyTrash } from '../../storage/trash.js';
import { snapshotPath, type TreeRoots } from '../../storage/tree-paths.js';
import {
  type CleanPlan,
  type CleanRequest,
  cleanRepository,
  planClean,
} from './clean-snapshots.js';
import { carriedBy } from './kept-for-grace.js';
import { findBroken, listRepositories, recoverRepository, trashAbandonedWork } from './recover.js';
import { repairRepository } from './repair.js';
import { discardSpareTrees } from './spare-tree.js';
import { planSweep, sweep } from './sweep.js';
import { verifyContent, verifyLinks, verifyRepository, verifyTrash } from './verify-tree.js';

export interface DirectoryUpkeepOptions {
  readonly roots: TreeRoots;
  /** Id of this process. */
  readonly owner: string;
  readonly run: RunJob;
  /** Wall clock, which may be set at any time. Used for names and display. */
  readonly nowMs: () => number;
  /** Monotonic clock, used to measure elapsed time. */
  readonly clock: () => ClockReading;
  readonly lock: () => LockOptions;
  readonly policyOf: (id: RepositoryId) => RepositoryPolicy;
  /** The longest grace period of all repositories. */
  readonly graceMs: () => number;
  /** Returns whether the process with this id is gone. */
  readonly isDead: (owner: string) => boolean;
  readonly emit: EmitEvent;
}

/** A publish places the link for Crane a moment after its flip, so links are checked a second time. */
const LINKS_AGAIN_MS = 1000;
/** Verdict for every snapshot of a removed repository. */
const REMOVED = { rule: 'removed', remove: true } as const;

type Cleaned = CleanedRepository & {
  /** Errors after the flip of the new snapshot. */
  readonly later?: readonly Error[];
};

export class DirectoryUpkeep {
  readonly #options: DirectoryUpkeepOptions;
  /** Makes the next snapshot of a repository, without content that is past its grace period. */
  readonly #expire: (policy: RepositoryPolicy) => Promise<PublishResult>;
  readonly #carried = new Map<RepositoryId, { snapshot: Timestamp; oldestMs: number }>();

  constructor(
    options: DirectoryUpkeepOptions,
    expire: (policy: RepositoryPolicy) => Promise<PublishResult>,
  ) {
    this.#options = options;
    this.#expire = expire;
  }

  async start(): Promise<StartResult> {
    const { run, roots, owner } = this.#options;
    const recovered: { id: RepositoryId; what: string }[] = [];
    const notDone: NotDone[] = [];
    for (const id of await run(findBroken, { roots })) {
      try {
        const repaired = await this.#locked(id, () => run(recoverRepository, { roots, id, owner }));
        recovered.push(...repaired.map((what) => ({ id, what })));
      } catch (error) {
        notDone.push({ id, error: error as Error });
      }
    }
    return { recovered, notDone };
  }

  /** Verifies one repository, or everything that is published and stored. */
  async verify(id: RepositoryId | undefined): Promise<VerifyReport | undefined> {
    const { run, roots, nowMs } = this.#options;
    const ids = await this.#idsOf(id);
    if (ids === undefined) return undefined;
    const checks: Promise<VerifyResult>[] = ids.map((each) => this.#verifyOne(each));
    if (id === undefined) {
      checks.push(run(verifyContent, { roots }));
      checks.push(run(verifyTrash, { roots, nowMs: nowMs() }));
    }
    const results = await Promise.all(checks);
    const files = results.reduce((sum, each) => sum + each.files, 0);
    return { files, findings: results.flatMap(({ findings }) => findings), unit: 'files' };
  }

  async #verifyOne(id: RepositoryId): Promise<VerifyResult> {
    const { run, roots } = this.#options;
    const first = await run(verifyRepository, { roots, id });
    if (first.links.length === 0) return first;
    await new Promise((next) => setTimeout(next, LINKS_AGAIN_MS));
    const again = await run(verifyLinks, { roots, id });
    const isLasting = ({ path }: VerifyFinding) =>
      again.findings.some((each) => each.path === path);
    const findings = first.findings.filter(
      (each) => !first.links.includes(each) || isLasting(each),
    );
    return { ...first, findings };
  }

  async repair(id: RepositoryId | undefined): Promise<RepairResult | undefined> {
    const { run, roots } = this.#options;
    const ids = await this.#idsOf(id);
    if (ids === undefined) return undefined;
    const repaired: string[] = [];
    const notDone: NotDone[] = [];
    for (const each of ids) {
      try {
        repaired.push(...(await this.#repairOne(each)).map((what) => `${each}: ${what}`));
      } catch (error) {
        // A busy repository, or one that dropdock did not make, must not stop the others from being repaired.
        if (faultOf(error) === 'bug') throw error;
        notDone.push({ id: each, error: error as Error });
        if (isSystemError(error)) return { repaired, notDone };
      }
    }
    try {
      const deleted = await run(emptyTrash, { roots });
      if (deleted > 0) repaired.push(`deleted what was left in the trash: ${deleted}`);
    } catch (error) {
      if (!isSystemError(error)) throw error;
      notDone.push({ id: null, error });
    }
    return { repaired, notDone };
  }

  #repairOne(id: RepositoryId): Promise<string[]> {
    const { run, roots, owner, policyOf } = this.#options;
    const request = { roots, id, owner };
    const { urlTemplate, protected: isProtected } = policyOf(id);
    const redirect = { urlTemplate, protected: isProtected };
    return this.#locked(id, async () => [
      ...(await run(repairRepository, { ...request, redirect })),
      ...(await run(recoverRepository, request)),
    ]);
  }

  /** For a command: removes everything that can go, including spare trees of a running daemon. */
  clean({ dryRun }: { readonly dryRun: boolean }): Promise<CleanResult> {
    if (dryRun) return this.#planAll();
    return this.#cleanAll(async () => {
      const { run, roots } = this.#options;
      await this.#trashDeadWork();
      // Spare trees of older snapshots link content that this cleaning may remove.
      await run(discardSpareTrees, { roots });
    });
  }

  /** For a daemon. Others may be running, so only this process's spare trees are discarded. */
  cleanIfDue(): Promise<CleanResult> {
    const { run, roots, owner } = this.#options;
    // Otherwise content linked only by spare trees would never become unused.
    return this.#cleanAll(() => run(discardSpareTrees, { roots, owner }));
  }

  async #cleanAll(beforeSweep: () => Promise<unknown>): Promise<CleanResult> {
    const { run, emit } = this.#options;
    const done = await this.#eachRepository((id) => this.#cleanOne(id));
    await beforeSweep();
    const request = this.#sweepRequest();
    const content = await timed(emit, 'sweep', () => run(sweep, request));
    emit({ type: 'content.swept', bytes: content.bytes, stays: content.stays });
    return { ...done, content };
  }

  async #planAll(): Promise<CleanResult> {
    const { run, roots } = this.#options;
    const done = await this.#eachRepository((id) => this.#planOne(id));
    const going = done.repositories.flatMap(({ id, snapshots, renewing }) =>
      snapshots
        .filter(({ name, remove }) => remove && name !== renewing)
        .map(({ name }) => snapshotPath(roots, id, name)),
    );
    const renewing = done.repositories.flatMap(({ id, renewing: snapshot }) =>
      snapshot ? [{ id, snapshot }] : [],
    );
    const content = await run(planSweep, { ...this.#sweepRequest(), going, renewing });
    return { ...done, content };
  }

  async #eachRepository(
    work: (id: RepositoryId) => Promise<Cleaned>,
  ): Promise<Omit<CleanResult, 'content'>> {
    const { run, roots } = this.#options;
    const repositories: CleanedRepository[] = [];
    const notDone: NotDone[] = [];
    const later: NotDone[] = [];
    const ids = await run(listRepositories, { roots });
    const there = new Set(ids);
    for (const id of this.#carried.keys()) if (!there.has(id)) this.#carried.delete(id);
    for (const id of ids) {
      try {
        const { later: errors = [], ...cleaned } = await work(id);
        repositories.push(cleaned);
        later.push(...errors.map((error) => ({ id, error })));
      } catch (error) {
        // A busy repository or a full disk must not stop the others from being cleaned.
        if (faultOf(error) === 'bug') throw error;
        notDone.push({ id, error: error as Error });
      }
    }
    return { repositories, notDone, later };
  }

  async #cleanOne(id: RepositoryId): Promise<Cleaned> {
    const { policyOf } = this.#options;
    const { request, plan, found, isStale } = await this.#judge(id);
    if (isStale || plan.note) await this.#cleanUnderLock(request, isStale);
    const overdue = await this.#countOverdue(id, plan);
    if (overdue === 0) return found;
    // The last step of that publish is also a cleaning.
    const { snapshot, removed, later } = await this.#expire(policyOf(id));
    const snapshots = found.snapshots.map((each) =>
      removed.includes(each.name)
        ? ({ name: each.name, rule: 'stale', remove: true } as const)
        : each,
    );
    return { ...found, overdue, renewed: snapshot, snapshots, later };
  }

  async #planOne(id: RepositoryId): Promise<CleanedRepository> {
    const { plan, found, request } = await this.#judge(id);
    const overdue = await this.#countOverdue(id, plan);
    const { current } = plan;
    if (overdue === 0 || current === null || request.graceMs > 0) return { ...found, overdue };
    const stale = { name: current, rule: 'stale', remove: true } as const;
    const others = found.snapshots.filter(({ name }) => name !== current);
    return { ...found, overdue, renewing: current, snapshots: [stale, ...others] };
  }

  async #judge(id: RepositoryId) {
    const { run, roots, policyOf, nowMs, clock } = this.#options;
    const { keep, graceMs } = policyOf(id);
    const request = { roots, id, keep, graceMs, nowMs: nowMs(), clock: clock() };
    const plan = await run(planClean, request);
    const { verdicts, strangers, isExpired } = plan;
    const snapshots = isExpired ? verdicts.map((each) => ({ ...each, ...REMOVED })) : verdicts;
    const isStale = isExpired || snapshots.some(({ remove }) => remove);
    const found: CleanedRepository = { id, snapshots, strangers, overdue: 0, renewed: null };
    return { request, plan, found, isStale };
  }

  /**
   * Returns how many manifests the current snapshot keeps although their grace period is over. Snapshots are
   * immutable, so each idle repository is read only once.
   */
  async #countOverdue(
    id: RepositoryId,
    { isExpired, current, expiredMs }: Judged,
  ): Promise<number> {
    if (isExpired || current === null) return 0;
    const { run, roots } = this.#options;
    const known = this.#carried.get(id);
    if (known?.snapshot === current && !(known.oldestMs <= expiredMs)) return 0;
    const times = await run(carriedBy, { roots, id, snapshot: current });
    this.#carried.set(id, { snapshot: current, oldestMs: times[0] ?? Number.NaN });
    return times.filter((sinceMs) => sinceMs <= expiredMs).length;
  }

  /**
   * Removes old snapshots, or only records ages.
   * @param isStale when false, does not wait for the lock: its holder records the same ages
   * @throws lock.busy, system errors
   */
  async #cleanUnderLock(request: CleanRequest, isStale: boolean): Promise<void> {
    const { run, emit } = this.#options;
    const clean = async ({ lost: lockLost }: RepositoryLock) => {
      const removed = await timed(emit, 'clean', () =>
        run(cleanRepository, { ...request, lockLost }),
      );
      emit({ type: 'snapshots.removed', count: removed.length });
    };
    try {
      await this.#locked(request.id, clean, isStale ? {} : { waitMs: 0 });
    } catch (error) {
      if (isStale || !(error instanceof DropdockError) || error.code !== 'lock.busy') throw error;
    }
  }

  /** Work directories of crashed processes count as running publishes and would keep content forever. */
  async #trashDeadWork(): Promise<void> {
    const { run, roots, isDead } = this.#options;
    const dead = (await run(workOwners, { roots })).filter(isDead);
    if (dead.length > 0) await run(trashAbandonedWork, { roots, dead });
  }

  #sweepRequest() {
    const { roots, nowMs, clock, graceMs } = this.#options;
    return { roots, nowMs: nowMs(), clock: clock(), graceMs: graceMs() };
  }

  /** Returns undefined when the requested repository does not exist. */
  async #idsOf(id: RepositoryId | undefined): Promise<RepositoryId[] | undefined> {
    const { run, roots } = this.#options;
    const all = await run(listRepositories, { roots });
    if (id === undefined) return all;
    return all.includes(id) ? [id] : undefined;
  }

  async #locked<T>(
    id: RepositoryId,
    work: (lock: RepositoryLock) => Promise<T>,
    options: Partial<LockOptions> = {},
  ): Promise<T> {
    const lock = await lockRepository(this.#options.roots, id, {
      ...this.#options.lock(),
      ...options,
    });
    try {
      return await work(lock);
    } finally {
      await lock.release();
    }
  }
}

type Judged = Pick<CleanPlan, 'isExpired' | 'current' | 'expiredMs'>;
