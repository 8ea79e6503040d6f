/** Commands that put things in order: init, clean, verify. */
import { resolve } from 'node:path';
import { lockOptions, openServices, type Services } from '../daemon/services.js';
import { cleanOneStore } from '../daemon/store-upkeep.js';
import { DropdockError, isSystemError } from '../errors.js';
import type { RepositoryId } from '../image/names.js';
import type { Log } from '../log.js';
import type { CleanedStore } from '../objects/clean.js';
import { lockRepository, type RepositoryLock } from '../publish/lock.js';
import { allDirectories } from '../publish/paths.js';
import type { SnapshotVerdict } from '../publish/retention.js';
import type { Finding } from '../publish/verify.js';
import { resolveRepositoryById } from '../settings/repository-policy.js';
import { LOCAL_TARGET } from '../settings/targets.js';
import {
  type CommandContext,
  EXIT,
  type ExitCode,
  formatBytes,
  formatTable,
  idOf,
  printJson,
  rootsOf,
  runHere,
} from './context.js';
import { unknown } from './look.js';

export async function init(context: CommandContext): Promise<ExitCode> {
  const roots = rootsOf(context);
  const inbox = resolve(context.settings.paths.inbox);
  await runHere('prepareTree', { roots, directories: allDirectories(roots) });
  await runHere('prepareInbox', { inbox });
  if (context.json) printJson(context, { inbox, ...roots });
  else {
    context.print(
      `inbox      ${inbox}\npublished  ${roots.published}\nstate      ${roots.state}\n`,
    );
    context.print('Ready. Start the daemon with: dropdock run\n');
  }
  return EXIT.done;
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
    const plans = await cleanRepositories(services, dryRun);
    const { roots, run, nowMs, settings } = services;
    const request = { roots, nowMs: nowMs(), graceMs: settings.retention.grace };
    if (!dryRun) await run('emptyTrash', { roots });
    const content = await run(dryRun ? 'planSweep' : 'sweep', request);
    const targets = Object.keys(stores).length > 0 ? { targets: stores } : {};
    if (context.json) printJson(context, { dryRun, repositories: plans, content, ...targets });
    else {
      printPlans(context, plans, content, dryRun);
      printStores(context, stores, dryRun);
    }
    return EXIT.done;
  } finally {
    await services.close();
  }
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
    const plans = repositories.map((each) => ({ ...each, strangers: [] }));
    context.print(`${name}:\n`);
    printPlans(context, plans, { files, bytes }, dryRun);
    if (stopped !== undefined) context.print(`It ended early: ${stopped}.\n`);
  }
}

/** All that is left of a repository that was removed. */
const REMOVED = { rule: 'removed', remove: true } as const;

interface CleanedRepository {
  readonly id: RepositoryId;
  readonly snapshots: readonly (Omit<SnapshotVerdict, 'rule'> & {
    readonly rule: SnapshotVerdict['rule'] | 'removed';
  })[];
  readonly strangers: readonly string[];
}

async function cleanRepositories(
  services: Services,
  dryRun: boolean,
): Promise<CleanedRepository[]> {
  const { run, roots, settings, nowMs } = services;
  const plans: CleanedRepository[] = [];
  for (const id of await run('listRepositories', { roots })) {
    const { keep, graceMs } = resolveRepositoryById(settings, id);
    const request = { roots, id, keep, graceMs, nowMs: nowMs() };
    const { verdicts, strangers, isOver } = await run('planClean', request);
    const snapshots = isOver ? verdicts.map((each) => ({ ...each, ...REMOVED })) : verdicts;
    plans.push({ id, snapshots, strangers });
    if (dryRun || !(isOver || snapshots.some(({ remove }) => remove))) continue;
    await locked(services, id, ({ lost }) => run('clean', { ...request, lockLost: lost }));
  }
  return plans;
}

async function locked<T>(
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
  plans: readonly CleanedRepository[],
  content: { readonly files: number; readonly bytes: number },
  dryRun: boolean,
): void {
  const rows = plans.flatMap(({ id, snapshots, strangers }) => [
    ...snapshots.map(({ name, rule, remove, untilMs }) => [
      id,
      name,
      remove ? (dryRun ? 'would go' : 'gone') : 'stays',
      rule,
      untilMs === undefined ? '' : `until ${new Date(untilMs).toISOString()}`,
    ]),
    ...strangers.map((name) => [id, name, 'stays', 'no snapshot of ours', '']),
  ]);
  if (rows.length > 0) {
    context.print(formatTable([['REPOSITORY', 'SNAPSHOT', '', 'RULE', ''], ...rows]));
  }
  const verb = dryRun ? 'would free' : 'freed';
  context.print(`unused content: ${content.files} files, ${verb} ${formatBytes(content.bytes)}\n`);
}

export async function verify(
  context: CommandContext,
  log: Log,
  { repository, repair }: { readonly repository: string | undefined; readonly repair: boolean },
): Promise<ExitCode> {
  const roots = rootsOf(context);
  const all = await runHere('listRepositories', { roots });
  const ids = repository === undefined ? all : [idOf(context, repository)];
  const [asked] = ids;
  if (repository !== undefined && asked && !all.includes(asked)) throw unknown(repository);
  const mended = repair ? await mendAll(context, log, ids) : [];
  const findings: Finding[] = [];
  let files = 0;
  const results = ids.map((id) => runHere('verifyRepository', { roots, id }));
  if (repository === undefined) {
    results.push(runHere('verifyContent', { roots }));
    results.push(runHere('verifyTrash', { roots, nowMs: Date.now() }));
  }
  for (const result of await Promise.all(results)) {
    findings.push(...result.findings);
    files += result.files;
  }
  if (context.json) printJson(context, { files, findings, mended });
  else {
    for (const what of mended) context.print(`mended: ${what}\n`);
    context.print(
      formatTable(findings.map(({ problem, path, detail }) => [problem, path, detail])),
    );
    context.print(`${files} files read, ${findings.length} problems found\n`);
  }
  return findings.length === 0 ? EXIT.done : EXIT.system;
}

async function mendAll(
  context: CommandContext,
  log: Log,
  ids: readonly RepositoryId[],
): Promise<string[]> {
  const services = await openServices(context.settings, log);
  const mended: string[] = [];
  try {
    for (const id of ids) {
      const request = { roots: services.roots, id, owner: services.owner.token };
      const redirect = resolveRepositoryById(services.settings, id);
      const done = await locked(services, id, async () => [
        ...(await services.run('repairRepository', { ...request, redirect })),
        ...(await services.run('mend', request)),
      ]).catch((error) => {
        // One that dropdock did not make must not keep the others from it.
        if (error instanceof DropdockError) return [`not repaired: ${error.message}`];
        throw error;
      });
      mended.push(...done.map((what) => `${id}: ${what}`));
    }
    const deleted = await services.run('emptyTrash', { roots: services.roots });
    if (deleted > 0) mended.push(`deleted what was left in the trash: ${deleted}`);
  } catch (error) {
    if (!isSystemError(error)) throw error;
    mended.push(`stopped: ${error.message}`);
  } finally {
    await services.close();
  }
  return mended;
}
