/** A drop from its claim to its receipt, and what each target made of it. The only record of it. */
import type { RefusedName } from '../image/bundle.js';
import type { Claim } from '../inbox/inbox-paths.js';
import {
  bundleReceipt,
  errorFields,
  publishedPart,
  publishedReceipt,
  type ReceiptFrame,
  refusedNamePart,
  refusedPart,
  rejectedReceipt,
} from '../report.js';
import type { ResolvedRepository } from '../settings/repository-policy.js';
import { isLocalOnly } from '../settings/target-settings.js';
import type { DropToPublish, StoredDrop } from './stored-drop.js';
import type { DropOutcome, PublishedOutcome, StagedDrop } from './target.js';

/** A claimed drop as it is handed to the publisher. */
export interface ClaimedDrop {
  readonly claim: Claim;
  /** The drop's path as it lay in the inbox. */
  readonly name: string;
  /** Undefined for a bundle, whose repositories are named inside it. */
  readonly policy: ResolvedRepository | undefined;
  /** Where a bundle lies. */
  readonly namespace: string;
  readonly drop: DropToPublish;
  /** On the monotonic clock. */
  readonly claimedMs: number;
  /** What it looked like when it was claimed, and since when; for a drop that is returned to the inbox. */
  readonly look: { readonly signature: string; readonly sinceMs: number } | undefined;
  /** What was read and stored of it when it was claimed. */
  readonly held: Held | undefined;
}

/** What was stored of a drop, and is kept from being swept until it is released. */
export interface Held {
  readonly stored: StoredDrop;
  /** May be called again. Does not fail. */
  readonly release: () => Promise<void>;
}

/** What a target made of a part. */
export interface Delivered {
  readonly outcome: Exclude<DropOutcome, { readonly status: 'retry' }>;
  /** How often it was tried again before. */
  readonly retries: number;
}

/** What one repository gets of a drop, on its way to the repository's targets. */
export interface Part {
  readonly policy: ResolvedRepository;
  staged: StagedDrop;
  readonly delivered: Map<string, Delivered>;
  /** How often each target was tried again. */
  readonly attempts: Map<string, number>;
}

export interface DropRecord {
  readonly claimed: ClaimedDrop;
  /** Empty until it is staged. */
  parts: readonly Part[];
  refused: readonly RefusedName[];
  /** Ends what keeps its content from being swept. */
  readonly releases: (() => Promise<void>)[];
  /** How often reading it, or its receipt, was tried again. */
  attempts: number;
  /** Of this try, on the monotonic clock; undefined until it begins. */
  startedMs: number | undefined;
}

export function newPart(policy: ResolvedRepository, staged: StagedDrop): Part {
  return { policy, staged, delivered: new Map(), attempts: new Map() };
}

type WithTargets = Pick<Part, 'policy' | 'delivered'>;

export function isDelivered({ policy, delivered }: WithTargets): boolean {
  return policy.targets.every((target) => delivered.has(target));
}

/** What the receipt says of the whole: the first target that took it, in the order of the settings. */
export function overallOutcome({ policy, delivered }: WithTargets): Delivered['outcome'] {
  const all = policy.targets.flatMap((target) => delivered.get(target)?.outcome ?? []);
  const taken = all.filter((each): each is PublishedOutcome => each.status !== 'rejected');
  const outcome = taken.find(({ status }) => status === 'published') ?? taken[0] ?? all[0];
  if (outcome === undefined) throw new Error(`no outcome for ${policy.repository}`);
  return outcome;
}

/** A receipt's part for each target; undefined where the directory is the only one. */
export function targetParts(part: WithTargets): Record<string, object> | undefined {
  const { policy, delivered } = part;
  if (isLocalOnly(policy)) return undefined;
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

/** What became of a whole drop. */
export interface Overall {
  readonly status: 'published' | 'unchanged' | 'rejected';
  readonly receipt: object;
}

/** When every target of every part has it or refuses it. */
export function overallOf({ claimed, parts, refused }: DropRecord, frame: ReceiptFrame): Overall {
  if (claimed.policy !== undefined) {
    const [part] = parts;
    if (part === undefined) throw new Error(`no part of ${claimed.name}`);
    const outcome = overallOutcome(part);
    const targets = targetParts(part);
    const own =
      outcome.status === 'rejected'
        ? rejectedReceipt(outcome.error, frame)
        : publishedReceipt(outcome, frame);
    return { status: outcome.status, receipt: { ...own, ...(targets && { targets }) } };
  }
  const outcomes = parts.map(overallOutcome);
  const isNew = outcomes.some(({ status }) => status === 'published');
  const status = isNew ? 'published' : 'unchanged';
  const all = [...parts.map(receiptPart), ...refused.map(refusedNamePart)];
  return { status, receipt: bundleReceipt(status, all, frame) };
}

function receiptPart(part: Part): object {
  const { repository, id } = part.policy;
  const outcome = overallOutcome(part);
  const targets = targetParts(part);
  // Checked before the first flip, so only a race with another publisher can refuse a part now.
  const fields =
    outcome.status === 'rejected'
      ? refusedPart(outcome.error)
      : publishedPart({ ...outcome, ...(targets && { targets }) });
  return { repository, id, ...fields };
}
