/** `dropdock clean`: stale snapshots, what they carry for too long, and content that nobody uses. */
import { cleanUnderLock } from '../daemon/clean-under-lock.js';
import { countOverdue, renewSnapshot } from '../daemon/renewal.js';
import { lockOptions, openServices, type Services } from '../daemon/services.js';
import { cleanOneStore } from '../daemon/store-upkeep.js';
import { faultOf } from '../errors.js';
import type { RepositoryId } from '../image/names.js';
import type { Log } from '../log.js';
import type { CleanedStore } from '../objects/clean.js';
import { lockRepository, type RepositoryLock } from '../publish/lock.js';
import { snapshotPath, type TreeRoots } from '../publish/paths.js';
import type { SnapshotVerdict } from '../publish/retention.js';
import { resolveRepositoryById } from '../settings/repository-policy.js';
import { LOCAL_TARGET } from '../settings/targets.js';
import type { Timestamp } from '../snapshot/timestamp.js';
import {
  type CommandContext,
  EXIT,
  type ExitCode,
  exitOf,
  formatBytes,
  formatTable,
  printJson,
} from './context.js';

/** All that is left of a repository that was removed. */
const REMOVED = { rule: 'removed', remove: true } as const;

interface CleanedRepository {
  readonly id: RepositoryId;
  readonly snapshots: readonly (Omit<SnapshotVerdict, 'rule'> & {
    readonly rule: SnapshotVerdict['rule'] | 'removed';
  })[];
  readonly strangers: readonly string[];
  /** How many manifests are past their grace period that only a new snapshot is rid of. */
  readonly overdue: number;
  /** That new snapshot. */
  readonly renewed: Timestamp | null;
  /** In a dry run: the current one, where it would go at once when that new one is made. */
  readonly renewing?: Timestamp;
}

interface NotDone {
  readonly id: RepositoryId;
  readonly error: Error;
}

export async function clean(
  context: CommandContext,
  log: Log,
  { dryRun, target }: { readonly dryRun: boolean; readonly target: string | undefined },
): Promise<ExitCode> {
  const services = await openServices(context.settings, log);
  try {
    const stores = await cleanNamedStores(services, dryRun, target);
    if (target !== undefined && target !== LOCAL_TARGET) {
      if (context.json) printJson(context, { dryRun, targets: stores });
      else printStores(context, stores, dryRun);
      return EXIT.done;
    }
    const { roots, run, nowMs, clock, settings } = services;
    const plans: CleanedRepository[] = [];
    const notDone: NotDone[] = [];
    for (const id of await run('listRepositories', { roots })) {
      try {
        plans.push(await cleanOne(services, id, dryRun));
      } catch (error) {
        // A busy one, or a full disk, must not keep the others from being cleaned.
        if (faultOf(error) === 'bug') throw error;
        notDone.push({ id, error: error as Error });
      }
    }
    if (!dryRun) await trashDeadWork(services);
    // Trees made ready for what was current before link what they would have served.
    if (!dryRun) await run('discardPrepared', { roots });
    const request = {
      roots,
      nowMs: nowMs(),
      clock: clock(),
      graceMs: settings.retention.grace,
    };
    const content = await (dryRun
      ? run('planSweep', { ...request, going: goingOf(roots, plans), renewing: renewingOf(plans) })
      : run('sweep', request));
    const left = notDone.map(({ id, error: { message } }) => ({ id, message }));
    const targets = Object.keys(stores).length > 0 ? { targets: stores } : {};
    if (context.json) {
      printJson(context, { dryRun, repositories: plans, content, notDone: left, ...targets });
    } else {
      printPlans(context, { plans, content, dryRun, notDone: left });
      printStores(context, stores, dryRun);
    }
    return exitOf(notDone.map(({ error }) => error));
  } finally {
    await services.close();
  }
}

/** What crashed processes left under work/ would keep content for publishes that never end. */
async function trashDeadWork({ run, roots, owners }: Services): Promise<void> {
  const found = await run('workOwners', { roots });
  const dead = found.filter((token) => owners.isDead(token));
  if (dead.length > 0) await run('trashAbandonedWork', { roots, dead });
}

async function cleanNamedStores(
  services: Services,
  dryRun: boolean,
  target: string | undefined,
): Promise<Record<string, CleanedStore>> {
  const cleaned: Record<string, CleanedStore> = {};
  for (const name of services.stores.names) {
    if (target !== undefined && name !== target) continue;
    cleaned[name] = await cleanOneStore(services, await services.stores.open(name), dryRun);
  }
  return cleaned;
}

function printStores(
  context: CommandContext,
  stores: Readonly<Record<string, CleanedStore>>,
  dryRun: boolean,
): void {
  for (const [name, { repositories, files, bytes, stopped }] of Object.entries(stores)) {
    const plans = repositories.map((each) => ({ ...each, ...NOT_HERE }));
    context.print(`${name}:\n`);
    printPlans(context, { plans, content: { files, bytes }, dryRun, notDone: [] });
    if (stopped !== undefined) context.print(`It ended early: ${stopped}.\n`);
  }
}

/** What only a tree has. */
const NOT_HERE = { strangers: [], overdue: 0, renewed: null };

async function cleanOne(
  services: Services,
  id: RepositoryId,
  dryRun: boolean,
): Promise<CleanedRepository> {
  const { run, roots, settings, nowMs, clock } = services;
  const { keep, graceMs } = resolveRepositoryById(settings, id);
  const request = { roots, id, keep, graceMs, nowMs: nowMs(), clock: clock() };
  const plan = await run('planClean', request);
  const { verdicts, strangers, isOver, current, expiredMs } = plan;
  const snapshots = isOver ? verdicts.map((each) => ({ ...each, ...REMOVED })) : verdicts;
  const isStale = isOver || snapshots.some(({ remove }) => remove);
  if (!dryRun && (isStale || plan.note)) await cleanUnderLock(services, request, isStale);
  const found = { id, snapshots, strangers, overdue: 0, renewed: null };
  if (isOver || current === null) return found;
  const overdue = await countOverdue(services, id, current, expiredMs);
  if (dryRun && overdue > 0 && graceMs === 0) {
    const stale = { name: current, rule: 'stale', remove: true } as const;
    const others = snapshots.filter(({ name }) => name !== current);
    return { ...found, overdue, renewing: current, snapshots: [stale, ...others] };
  }
  if (dryRun || overdue === 0) return { ...found, overdue };
  // Its last step is a cleaning, too.
  const { snapshot, removed } = await renewSnapshot(services, id);
  const isGone = (name: Timestamp) => removed.includes(name);
  return {
    ...found,
    overdue,
    renewed: snapshot,
    snapshots: snapshots.map((each) =>
      isGone(each.name) ? { name: each.name, rule: 'stale', remove: true } : each,
    ),
  };
}

function goingOf(roots: TreeRoots, plans: readonly CleanedRepository[]): string[] {
  return plans.flatMap(({ id, snapshots, renewing }) =>
    snapshots
      .filter(({ name, remove }) => remove && name !== renewing)
      .map(({ name }) => snapshotPath(roots, id, name)),
  );
}

function renewingOf(plans: readonly CleanedRepository[]) {
  return plans.flatMap(({ id, renewing }) => (renewing ? [{ id, snapshot: renewing }] : []));
}

export async function locked<T>(
  services: Services,
  id: RepositoryId,
  work: (lock: RepositoryLock) => Promise<T>,
): Promise<T> {
  const { roots } = services;
  const lock = await lockRepository(roots, id, lockOptions(services));
  try {
    return await work(lock);
  } finally {
    await lock.release();
  }
}

function printPlans(
  context: CommandContext,
  given: {
    readonly plans: readonly CleanedRepository[];
    readonly content: { readonly files: number; readonly bytes: number };
    readonly dryRun: boolean;
    readonly notDone: readonly { readonly id: RepositoryId; readonly message: string }[];
  },
): void {
  const { plans, content, dryRun, notDone } = given;
  const rows = plans.flatMap((plan) => rowsOf(plan, dryRun));
  if (rows.length > 0) {
    context.print(formatTable([['REPOSITORY', 'SNAPSHOT', '', 'RULE', ''], ...rows]));
  }
  for (const { id, message } of notDone) context.print(`not cleaned: ${id}: ${message}\n`);
  const verb = dryRun ? 'would free' : 'freed';
  context.print(`unused content: ${content.files} files, ${verb} ${formatBytes(content.bytes)}\n`);
}

function rowsOf(
  { id, snapshots, strangers, overdue, renewed }: CleanedRepository,
  dryRun: boolean,
): string[][] {
  const what = `without ${overdue} manifests that were replaced before`;
  return [
    ...(renewed ? [[id, renewed, 'made', 'current', what]] : []),
    ...(dryRun && overdue > 0 ? [[id, '(a new one)', 'would be made', 'current', what]] : []),
    ...snapshots.map(({ name, rule, remove, untilMs }) => [
      id,
      name,
      remove ? (dryRun ? 'would go' : 'gone') : 'stays',
      rule,
      untilMs === undefined ? '' : `until ${new Date(untilMs).toISOString()}`,
    ]),
    ...strangers.map((name) => [id, name, 'stays', 'no snapshot of ours', '']),
  ];
}
