/** What a crash left, what has grown old: found at start and every retention.interval. */
import { DropdockError } from '../errors.js';
import type { RepositoryId } from '../image/names.js';
import { type Claim, claimKey } from '../inbox/paths.js';
import { freeLocksOf, lockRepository } from '../publish/lock.js';
import { errorFields } from '../report.js';
import { resolveRepositoryById } from '../settings/repository-policy.js';
import { cleanUnderLock } from './clean-under-lock.js';
import type { Intake } from './intake.js';
import { CarriedWatch, renewSnapshot } from './renewal.js';
import { lockOptions, type Services } from './services.js';
import { cleanStores, openStores } from './store-upkeep.js';

/**
 * Tries the stores, mends links, takes over what dead processes held, empties the trash.
 * @throws target.unfit
 */
export async function recover(services: Services, intake: Intake): Promise<void> {
  const { run, roots, inbox, log } = services;
  await openStores(services);
  for (const id of await run('findBroken', { roots })) {
    for (const what of await mend(services, id)) log('info', 'daemon.recovered', { id, what });
  }
  await takeOverFromDead(services, intake);
  // Nothing waits for it; what fails is tried again after the next publish.
  for (const work of [run('deleteRetired', { inbox }), run('emptyTrash', { roots })]) {
    work.catch((error) => {
      if (!isEnding(error)) log('warn', 'daemon.warning', errorFields(error as Error));
    });
  }
}

/** After the order to end, threads end: the next start finds what is left. */
export function isEnding(error: unknown): boolean {
  return error instanceof DropdockError && error.code === 'thread.failed';
}

async function mend(services: Services, id: RepositoryId): Promise<string[]> {
  const { roots, owner, run } = services;
  try {
    const lock = await lockRepository(roots, id, lockOptions(services));
    try {
      return await run('mend', { roots, id, owner: owner.token });
    } finally {
      await lock.release();
    }
  } catch (error) {
    services.log('warn', 'daemon.warning', { id, ...errorFields(error as Error) });
    return [];
  }
}

/** Claims and unfinished work of processes that are gone. @returns how many claims were taken over */
export async function takeOverFromDead(services: Services, intake: Intake): Promise<number> {
  const { run, roots, inbox, owner, owners, log } = services;
  const found = await run('findLeftovers', { inbox, roots });
  if (found.hasRetired) await run('deleteRetired', { inbox });
  const { claims } = found;
  const tokens = new Set([...found.owners, ...owners.tokens()]);
  tokens.delete(owner.token);
  await adoptForgotten(services, intake, claims);
  const dead = [...tokens].filter((token) => owners.isDead(token));
  if (dead.length === 0) return 0;
  const taken = await run('takeOverClaims', { inbox, owner: owner.token, dead });
  await run('trashAbandonedWork', { roots, dead });
  await run('removeBoards', { roots, owners: dead });
  freeLocksOf(roots, dead);
  owners.forget(dead);
  for (const { claim, kind } of taken) {
    log('info', 'daemon.recovered', { drop: claim.path, what: 'took over a claimed drop' });
    // It was claimed because it was whole, or because its time was up.
    await intake.adopt(claim, { path: claim.path, kind, tolerateAbsent: kind === 'directory' });
  }
  return taken.length;
}

/**
 * Claims of this very process that nobody in it works on: something failed between the claim and
 * what was to follow. Twice seen, for a claim that was just made is not known yet.
 */
async function adoptForgotten(
  { owner, liveClaims, log, run, inbox }: Services,
  intake: Intake,
  claims: readonly Claim[],
): Promise<void> {
  const forgotten = claims.filter(
    (claim) => claim.owner === owner.token && !liveClaims.has(claimKey(claim)),
  );
  const again = forgotten.filter((claim) => seenForgotten.has(claimKey(claim)));
  seenForgotten = new Set(forgotten.map(claimKey));
  for (const claim of again) {
    const kind = await run('claimKind', { inbox, claim });
    if (kind === undefined) continue;
    log('info', 'daemon.recovered', { drop: claim.path, what: 'took up a claimed drop again' });
    await intake.adopt(claim, { path: claim.path, kind, tolerateAbsent: kind === 'directory' });
  }
}

let seenForgotten: ReadonlySet<string> = new Set();

/** What keeps us from cleaning a repository, as far as it is told. */
const saidOf = new Map<string, string>();

const carried = new CarriedWatch();

interface Cleaned {
  readonly snapshots: number;
  /** A new snapshot was made, without what the last one carried on. */
  readonly renewed: number;
}

async function cleanOne(services: Services, id: RepositoryId): Promise<Cleaned> {
  const { run, roots, settings, nowMs, clock, log } = services;
  const { keep, graceMs } = resolveRepositoryById(settings, id);
  const request = { roots, id, keep, graceMs, nowMs: nowMs(), clock: clock() };
  const plan = await run('planClean', request);
  const { verdicts, isOver, current, expiredMs } = plan;
  let snapshots = 0;
  const isStale = isOver || verdicts.some(({ remove }) => remove);
  if (isStale || plan.note) {
    snapshots += (await cleanUnderLock(services, request, isStale)).length;
  }
  if (isOver || current === null || !(await carried.isOverdue(services, id, current, expiredMs))) {
    return { snapshots, renewed: 0 };
  }
  const { snapshot, removed, later } = await renewSnapshot(services, id);
  for (const error of later) log('warn', 'publish.later', { repo: id, ...errorFields(error) });
  return { snapshots: snapshots + removed.length, renewed: snapshot === null ? 0 : 1 };
}

/** Removes stale snapshots of all repositories, and content that nothing uses any more. */
export async function cleanAll(services: Services): Promise<void> {
  const { run, roots, owner, settings, nowMs, clock, log } = services;
  const ids = await run('listRepositories', { roots });
  let snapshots = 0;
  let renewed = 0;
  carried.keepOnly(ids);
  for (const id of ids) {
    try {
      const done = await cleanOne(services, id);
      snapshots += done.snapshots;
      renewed += done.renewed;
    } catch (error) {
      const { message } = error as Error;
      // Once for each reason: a tree may hold a thousand repositories of Pulp's.
      if (saidOf.get(id) !== message)
        log('warn', 'daemon.warning', { id, ...errorFields(error as Error) });
      saidOf.set(id, message);
    }
  }
  // Content that only they link would never be unused.
  await run('discardPrepared', { roots, owner: owner.token });
  const { files, bytes } = await run('sweep', {
    roots,
    nowMs: nowMs(),
    clock: clock(),
    graceMs: settings.retention.grace,
  });
  if (snapshots + files + renewed > 0) {
    log('info', 'clean.done', { snapshots, files, bytes, renewed });
  }
  await cleanStores(services);
}
