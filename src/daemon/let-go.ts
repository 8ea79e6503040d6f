/** Step 12 of a publish: receipts, and the drops they tell of. */
import { faultOf, fromPlainError } from '../errors.js';
import { claimKey } from '../inbox/paths.js';
import type { DropOutcome, DropToPublish } from '../publish/drop.js';
import { formatReceipt, publishedReceipt, rejectedReceipt } from '../report.js';
import { frameOf, isUnfinished } from './outcome.js';
import type { ClaimedDrop } from './publisher.js';
import type { Services } from './services.js';

/**
 * What was published goes together, what was refused each for itself.
 * @param giveBack for what turned out to be still on its way
 * @returns what stays claimed, and why
 * @throws bugs
 */
export async function letGoAll(
  services: Services,
  outcomes: readonly DropOutcome[],
  byDrop: ReadonlyMap<DropToPublish, ClaimedDrop>,
  giveBack: (claimed: ClaimedDrop) => Promise<void>,
): Promise<ReadonlyMap<DropToPublish, Error>> {
  const failed = new Map<DropToPublish, Error>();
  const published: Published[] = [];
  const others: Promise<void>[] = [];
  const note = (drop: DropToPublish, error: unknown) => {
    if (faultOf(error) === 'bug') throw error;
    failed.set(drop, error as Error);
  };
  for (const outcome of outcomes) {
    const { drop, status } = outcome;
    const claimed = byDrop.get(drop);
    if (claimed === undefined || status === 'retry') continue;
    if (status === 'rejected') {
      const { error } = outcome;
      const isOnItsWay = isUnfinished(drop, error);
      const gone = isOnItsWay ? giveBack(claimed) : letGoRefused(services, claimed, error);
      others.push(gone.catch((failure) => note(drop, failure)));
    } else {
      const receipt = formatReceipt(publishedReceipt(outcome, frameOf(services, claimed)));
      published.push({ claimed, receipt });
    }
  }
  await Promise.all([...others, letGoPublished(services, published, note)]);
  return failed;
}

interface Published {
  readonly claimed: ClaimedDrop;
  readonly receipt: string;
}

async function letGoPublished(
  { inbox, run, liveClaims }: Services,
  published: readonly Published[],
  note: (drop: DropToPublish, error: unknown) => void,
): Promise<void> {
  if (published.length === 0) return;
  const drops = published.map(({ claimed: { claim }, receipt }) => ({ claim, receipt }));
  try {
    const failures = await run('letGoTogether', { inbox, drops });
    for (const [at, { claimed }] of published.entries()) {
      const failure = failures[at];
      if (failure) note(claimed.drop, fromPlainError(failure));
      else liveClaims.delete(claimKey(claimed.claim));
    }
  } catch (error) {
    for (const { claimed } of published) note(claimed.drop, error);
  }
}

/** @throws system errors: it stays claimed */
export async function letGoRefused(
  services: Services,
  claimed: ClaimedDrop,
  error: Error,
): Promise<void> {
  const { inbox, run, liveClaims } = services;
  const { claim } = claimed;
  const receipt = formatReceipt(rejectedReceipt(error, frameOf(services, claimed)));
  await run('letGoRejected', { inbox, claim, receipt });
  liveClaims.delete(claimKey(claim));
}
