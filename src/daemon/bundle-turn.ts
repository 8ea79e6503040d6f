/** A bundle's turn: one drop, several repositories, one receipt. */
import { claimKey } from '../inbox/paths.js';
import type { DropOutcome, PublishedDrop } from '../publish/drop.js';
import { type BundleOutcome, publishBundle } from '../publish/publish-bundle.js';
import type { PublishContext } from '../publish/turn.js';
import {
  bundleReceipt,
  errorFields,
  formatReceipt,
  publishedPart,
  refusedNamePart,
  refusedPart,
  rejectedReceipt,
} from '../report.js';
import { resolveRepository } from '../settings/repository-policy.js';
import { publishEverywhere } from './everywhere.js';
import { eventOf, frameOf, isUnfinished, publishFields, sayLeftOut } from './outcome.js';
import type { ClaimedDrop } from './publisher.js';
import type { Services } from './services.js';

/** @throws system errors: the bundle stays claimed and is tried again */
export async function bundleTurn(
  services: Services,
  context: PublishContext,
  claimed: ClaimedDrop,
  startedMs: number,
): Promise<'published' | 'unchanged' | 'rejected' | 'unfinished'> {
  const { inbox, run, settings, log } = services;
  const { drop, namespace, claim, name } = claimed;
  const outcome = await publishBundle(context, {
    drop,
    namespace,
    policyOf: (repository) => resolveRepository(settings, repository),
    publish: (repository, part) =>
      publishEverywhere(services, context, resolveRepository(settings, repository), part),
  });
  if (outcome.status === 'rejected') {
    const { error } = outcome;
    if (isUnfinished(drop, error)) return 'unfinished';
    const receipt = formatReceipt(rejectedReceipt(error, frameOf(services, claimed)));
    await run('letGoRejected', { inbox, claim, receipt });
    services.liveClaims.delete(claimKey(claim));
    log('warn', 'drop.rejected', { drop: name, ...errorFields(error) });
    return 'rejected';
  }
  const { status } = outcome;
  const parts = outcome.parts.map(({ repository, outcome: part }) => {
    const { id } = resolveRepository(settings, repository);
    // Checked before the first flip, so only a race with another publisher can refuse a part now.
    const fields = isRefused(part) ? refusedPart(part.error) : publishedPart(part);
    return { repository, id, ...fields };
  });
  const all = [...parts, ...outcome.refused.map(refusedNamePart)];
  const receipt = formatReceipt(bundleReceipt(status, all, frameOf(services, claimed)));
  await run('letGoPublished', { inbox, claim, receipt });
  services.liveClaims.delete(claimKey(claim));
  report(services, name, outcome, startedMs);
  return status;
}

function report(
  services: Services,
  drop: string,
  outcome: Exclude<BundleOutcome, { status: 'rejected' }>,
  startedMs: number,
): void {
  const { log, monotonicMs } = services;
  const took = `${((monotonicMs() - startedMs) / 1000).toFixed(3)}s`;
  for (const { repository: repo, outcome: part } of outcome.parts) {
    if (isRefused(part)) log('warn', 'drop.rejected', { repo, drop, ...errorFields(part.error) });
    else log('info', eventOf(part), { repo, drop, ...publishFields(part), took });
  }
  const published = outcome.parts.flatMap(({ outcome: part }) => (isRefused(part) ? [] : [part]));
  sayLeftOut(services, { drop }, published);
  for (const { error } of outcome.refused) {
    log('warn', 'drop.rejected', { drop, ...errorFields(error) });
  }
  for (const { later, mended } of outcome.results) {
    for (const error of later) log('warn', 'publish.later', { drop, ...errorFields(error) });
    for (const what of mended) log('info', 'daemon.recovered', { drop, what });
  }
}

function isRefused(outcome: DropOutcome): outcome is Exclude<DropOutcome, PublishedDrop> {
  return outcome.status === 'rejected' || outcome.status === 'retry';
}
