/** A drop on its way to several targets, and what became of it in each. */

import { claimKey } from '../inbox/paths.js';
import type { DropOutcome, PublishedDrop } from '../publish/drop.js';
import type { stageAndIngest } from '../publish/stage-drops.js';
import { errorFields, formatReceipt, publishedReceipt, rejectedReceipt } from '../report.js';
import type { ResolvedRepository } from '../settings/repository-policy.js';
import { LOCAL_TARGET } from '../settings/targets.js';
import { eventOf, frameOf, publishFields, sayLeftOut } from './outcome.js';
import type { ClaimedDrop } from './publisher.js';
import type { Services } from './services.js';

/** For each target. */
export const TURNS = {
  /** At once; each may hash on all threads, so more would only hold more locks. */
  parallel: 8,
  /** Drops published in one snapshot. */
  batch: 500,
} as const;

/** What a target made of a drop. */
export interface Delivered {
  readonly outcome: Exclude<DropOutcome, { readonly status: 'retry' }>;
  /** How often it was tried again before. */
  readonly retries: number;
}

export interface Parcel {
  readonly claimed: ClaimedDrop;
  readonly policy: ResolvedRepository;
  /** What was read and stored of it. */
  staged: Awaited<ReturnType<typeof stageAndIngest>>;
  /** Under work/; as long as it is there, nothing sweeps what was stored. */
  readonly transaction: string;
  readonly startedMs: number;
  readonly attempts: Map<string, number>;
  readonly delivered: Map<string, Delivered>;
}

/** True for a repository that is published to the directory alone. */
export function isHereOnly({ targets }: Pick<ResolvedRepository, 'targets'>): boolean {
  return targets.length === 1 && targets[0] === LOCAL_TARGET;
}

/** The targets of a repository that is not published to the directory; undefined where it is. */
export function elsewhereOf({
  targets,
}: Pick<ResolvedRepository, 'targets'>): readonly string[] | undefined {
  return targets.includes(LOCAL_TARGET) ? undefined : targets;
}

export function isComplete({ policy, delivered }: Parcel): boolean {
  return policy.targets.every((target) => delivered.has(target));
}

/** What the receipt says of the whole: the first target that took it, in the order of the settings. */
export function overallOutcome({
  policy,
  delivered,
}: Pick<Parcel, 'policy' | 'delivered'>): Delivered['outcome'] | undefined {
  const all = policy.targets.flatMap((target) => delivered.get(target)?.outcome ?? []);
  const taken = all.filter((each): each is PublishedDrop => each.status !== 'rejected');
  return taken.find(({ status }) => status === 'published') ?? taken[0] ?? all[0];
}

/** A receipt's part for each target. */
export function targetParts({
  policy,
  delivered,
}: Pick<Parcel, 'policy' | 'delivered'>): Record<string, object> {
  const parts: Record<string, object> = {};
  for (const target of policy.targets) {
    const { outcome, retries } = delivered.get(target) ?? {};
    if (outcome === undefined) continue;
    parts[target] =
      outcome.status === 'rejected'
        ? { status: outcome.status, retries, ...errorFields(outcome.error) }
        : { status: outcome.status, snapshot: outcome.snapshot, retries };
  }
  return parts;
}

/** Step 12 for a drop that every target has or refuses. @throws when there is no receipt */
export async function finishParcel(services: Services, parcel: Parcel): Promise<void> {
  const { inbox, run, log, monotonicMs } = services;
  const { claimed, startedMs, policy } = parcel;
  const outcome = overallOutcome(parcel);
  if (outcome === undefined) return;
  const frame = frameOf(services, claimed);
  const targets = targetParts(parcel);
  const { claim, name: drop } = claimed;
  const isRefused = outcome.status === 'rejected';
  const written = isRefused
    ? rejectedReceipt(outcome.error, frame)
    : publishedReceipt(outcome, frame);
  const receipt = formatReceipt({ ...written, targets });
  await run(isRefused ? 'letGoRejected' : 'letGoPublished', { inbox, claim, receipt });
  services.liveClaims.delete(claimKey(claim));
  const fields = { repo: policy.repository, drop };
  const took = `${((monotonicMs() - startedMs) / 1000).toFixed(3)}s`;
  if (isRefused) log('warn', 'drop.rejected', { ...fields, ...errorFields(outcome.error) });
  else {
    log('info', eventOf(outcome), { ...fields, ...publishFields(outcome), took });
    sayLeftOut(services, fields, [outcome]);
  }
}
