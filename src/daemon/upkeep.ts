/** Recovers from crashes and cleans: at start and every retention.interval. */

import { DropdockError, faultOf } from '../errors.js';
import { claimKind, takeOverClaims } from '../inbox/claim.js';
import { deleteMarked } from '../inbox/finish.js';
import { type Claim, claimKey } from '../inbox/inbox-paths.js';
import type { CleanResult } from '../publisher/target.js';
import { errorFields } from '../report.js';
import { shownTarget } from '../settings/target-settings.js';
import { removeInboxStatus } from '../storage/inbox-status-file.js';
import { allOrFirstError } from '../storage/job.js';
import { freeLocksOf } from '../storage/repository-lock.js';
import { emptyTrash } from '../storage/trash.js';
import { trashAbandonedWork } from '../targets/directory/recover.js';
import type { Intake } from './intake.js';
import { findLeftovers } from './leftovers.js';
import type { Services } from './services.js';

/**
 * Starts the targets, takes over the claims of dead processes, empties the trash.
 * @throws target.unfit
 */
export async function recover(services: Services, intake: Intake): Promise<void> {
  const { run, roots, ownInbox: inbox, log, targets } = services;
  await allOrFirstError(targets.names.map((name) => startTarget(services, name)));
  await takeOverFromDead(services, intake);
  // In the background; what fails is retried after the next publish.
  for (const work of [run(deleteMarked, { inbox }), run(emptyTrash, { roots })]) {
    work.catch((error) => {
      if (!isEnding(error)) log('warn', 'daemon.warning', errorFields(error as Error));
    });
  }
}

/** True if a job failed because the threads end during shutdown; the next start finishes its work. */
export function isEnding(error: unknown): boolean {
  return error instanceof DropdockError && error.code === 'thread.failed';
}

/** @throws target.unfit, or the error of reading the directory */
async function startTarget({ targets, log }: Services, name: string): Promise<void> {
  const target = shownTarget(name);
  const { recovered, notDone, away, uploads } = await targets.get(name).start();
  for (const { id, what } of recovered) log('info', 'daemon.recovered', { target, id, what });
  for (const { id, error } of notDone) {
    log('warn', 'daemon.warning', { target, id: id ?? undefined, ...errorFields(error) });
  }
  if (away) log('warn', 'target.failed', { target, ...errorFields(away) });
  else if (target !== undefined) {
    log('info', 'target.ready', { target, uploads: uploads || undefined });
  }
}

/** Takes over claims of dead processes and trashes their work. @returns the number of claims taken over */
export async function takeOverFromDead(services: Services, intake: Intake): Promise<number> {
  const { run, roots, ownInbox: inbox, owner, owners, log } = services;
  const found = await run(findLeftovers, { inbox, roots });
  if (found.hasMarked) await run(deleteMarked, { inbox });
  const { claims } = found;
  const tokens = new Set([...found.owners, ...owners.tokens()]);
  tokens.delete(owner.token);
  await adoptForgotten(services, intake, claims);
  const dead = [...tokens].filter((token) => owners.isDead(token));
  if (dead.length === 0) return 0;
  const taken = await run(takeOverClaims, { inbox, owner: owner.token, dead });
  await run(trashAbandonedWork, { roots, dead });
  await run(removeInboxStatus, { roots, owners: dead });
  freeLocksOf(roots, dead);
  owners.forget(dead);
  for (const { claim, kind } of taken) {
    log('info', 'daemon.recovered', { drop: claim.path, what: 'took over a claimed drop' });
    // It was claimed because it was complete, or because settle.timeout was over.
    await intake.adopt(claim, { path: claim.path, kind, tolerateAbsent: kind === 'directory' });
  }
  return taken.length;
}

/**
 * Resumes claims of this process that no part of it works on: an error came between the claim and its
 * publish. A claim must be found so twice, because a new one is not in `liveClaims` yet.
 */
async function adoptForgotten(
  { owner, liveClaims, log, run, ownInbox: inbox, upkeep }: Services,
  intake: Intake,
  claims: readonly Claim[],
): Promise<void> {
  const forgotten = claims.filter(
    (claim) => claim.owner === owner.token && !liveClaims.has(claimKey(claim)),
  );
  const again = forgotten.filter((claim) => upkeep.forgottenClaims.has(claimKey(claim)));
  upkeep.forgottenClaims = new Set(forgotten.map(claimKey));
  for (const claim of again) {
    const kind = await run(claimKind, { inbox, claim });
    if (kind === undefined) continue;
    log('info', 'daemon.recovered', { drop: claim.path, what: 'resumed a claimed drop' });
    await intake.adopt(claim, { path: claim.path, kind, tolerateAbsent: kind === 'directory' });
  }
}

/** Removes stale snapshots of all repositories and unused content, in each target that is due. */
export async function cleanAll(services: Services): Promise<void> {
  const { targets, log } = services;
  for (const name of targets.names) {
    try {
      const cleaned = await targets.get(name).cleanIfDue();
      if (cleaned) logCleaned(services, shownTarget(name), cleaned);
    } catch (error) {
      if (faultOf(error) === 'bug' || isEnding(error)) throw error;
      const target = shownTarget(name);
      log('warn', 'daemon.warning', { target, ...errorFields(error as Error) });
    }
  }
}

function logCleaned(
  { log, upkeep }: Services,
  target: string | undefined,
  { repositories, content, notDone, later, stopped }: CleanResult,
): void {
  for (const { id, error } of notDone) {
    const { message } = error;
    const key = `${target ?? ''}/${id}`;
    // Log each reason once: a tree may hold a thousand repositories written by Pulp.
    if (upkeep.warningOf.get(key) !== message) {
      log('warn', 'daemon.warning', { target, id: id ?? undefined, ...errorFields(error) });
    }
    upkeep.warningOf.set(key, message);
  }
  for (const { id: repo, error } of later) {
    log('warn', 'publish.later', { target, repo: repo ?? undefined, ...errorFields(error) });
  }
  const { files, bytes } = content;
  const removed = repositories.flatMap(({ snapshots }) => snapshots.filter((each) => each.remove));
  const renewed = repositories.flatMap((each) => each.renewed ?? []).length;
  const counts = { snapshots: removed.length, files, bytes, renewed: renewed || undefined };
  // The directory is cleaned every few minutes: log only if something was removed.
  if (target === undefined && removed.length + files + renewed === 0) return;
  log('info', 'clean.done', { target, ...counts, stopped });
}
