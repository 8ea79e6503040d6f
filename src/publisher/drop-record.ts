/**
 * The record of a drop from its claim to its receipt, with the result of each target. There is no other
 * record.
 */
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

/** A claimed drop, as given to the publisher. */
export interface ClaimedDrop {
  readonly claim: Claim;
  /** The path of the drop in the inbox. */
  readonly name: string;
  /** Undefined for a bundle, which names its repositories inside. */
  readonly policy: ResolvedRepository | undefined;
  /** Namespace of a bundle. */
  readonly namespace: string;
  readonly drop: DropToPublish;
  /** Monotonic clock. */
  readonly claimedMs: number;
  /** Signature of the drop when it was claimed, and since when; used when the drop is returned to the inbox. */
  readonly look: { readonly signature: string; readonly sinceMs: number } | undefined;
  /** Content that was stored at the claim. */
  readonly held: Held | undefined;
}

/** The stored content of a drop. The sweep keeps it until it is released. */
export interface Held {
  readonly stored: StoredDrop;
  /** May be called more than once. Does not throw. */
  readonly release: () => Promise<void>;
}

/** The result of a target for a part. */
export interface Delivered {
  readonly outcome: Exclude<DropOutcome, { readonly status: 'retry' }>;
  /** Number of retries before. */
  readonly retries: number;
}

/** The part of a drop that belongs to one repository. */
export interface Part {
  readonly policy: ResolvedRepository;
  staged: StagedDrop;
  readonly delivered: Map<string, Delivered>;
  /** Number of retries, by target. */
  readonly attempts: Map<string, number>;
}

export interface DropRecord {
  readonly claimed: ClaimedDrop;
  /** Empty until the drop is staged. */
  parts: readonly Part[];
  refused: readonly RefusedName[];
  /** Functions that let the sweep delete its content again. */
  readonly releases: (() => Promise<void>)[];
  /** Number of retries of reading it or writing its receipt. */
  attempts: number;
  /** Start of this attempt (monotonic clock); undefined before. */
  startedMs: number | undefined;
}

export function newPart(policy: ResolvedRepository, staged: StagedDrop): Part {
  return { policy, staged, delivered: new Map(), attempts: new Map() };
}

type WithTargets = Pick<Part, 'policy' | 'delivered'>;

export function isDelivered({ policy, delivered }: WithTargets): boolean {
  return policy.targets.every((target) => delivered.has(target));
}

/**
 * Returns the outcome for the receipt: that of the first target, in the order of the settings, that accepted
 * it.
 */
export function overallOutcome({ policy, delivered }: WithTargets): Delivered['outcome'] {
  const all = policy.targets.flatMap((target) => delivered.get(target)?.outcome ?? []);
  const taken = all.filter((each): each is PublishedOutcome => each.status !== 'rejected');
  const outcome = taken.find(({ status }) => status === 'published') ?? taken[0] ?? all[0];
  if (outcome === undefined) throw new Error(`no outcome for ${policy.repository}`);
  return outcome;
}

/** Returns the section of each target for the receipt; undefined when the directory is the only target. */
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

/** The result of a whole drop. */
export interface Overall {
  readonly status: 'published' | 'unchanged' | 'rejected';
  readonly receipt: object;
}

/** Called when every target of every part has accepted or refused it. */
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
  // All parts were checked before the first flip, so only a race with another publisher can refuse a part
  // here.
  const fields =
    outcome.status === 'rejected'
      ? refusedPart(outcome.error)
      : publishedPart({ ...outcome, ...(targets && { targets }) });
  return { repository, id, ...fields };
}
