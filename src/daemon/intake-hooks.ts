/** What the intake asks and hands on: drops that were taken, and drops that never can be. */
import type { DropdockError } from '../errors.js';
import { type DropName, parseDropName } from '../image/names.js';
import type { ClaimRequest } from '../inbox/claim.js';
import type { Claim } from '../inbox/paths.js';
import type { Observation } from '../inbox/scan.js';
import type { SettleSettings } from '../inbox/settle.js';
import { type ResolvedRepository, resolveRepository } from '../settings/repository-policy.js';
import type { Settings } from '../settings/schema.js';
import type { ClaimedDrop } from './publisher.js';
import type { Services } from './services.js';
import type { Held } from './taking.js';
import { toDrop } from './to-drop.js';

export interface IntakeHooks {
  readonly onClaimed: (drop: ClaimedDrop) => void;
  /** A drop that never can be published: it is claimed and rejected. */
  readonly onRefused: (claim: Claim, name: string, error: DropdockError) => Promise<void>;
  readonly onBug: (error: unknown) => void;
}

/** What is known of a drop that has been claimed. */
export interface TakenDrop {
  readonly path: string;
  readonly kind: Observation['kind'];
  readonly tolerateAbsent: boolean;
  readonly look?: ClaimedDrop['look'];
  readonly early?: Held | undefined;
}

/** What a drop's name says. @throws name.invalid, tag.invalid */
export function resolveDrop(
  settings: Settings,
  path: string,
  kind: Observation['kind'],
): { policy: ResolvedRepository | undefined; name: DropName } {
  const name = parseDropName(path, kind === 'file');
  const { repository } = name;
  return { name, policy: repository && resolveRepository(settings, repository) };
}

/** Read anew each time: a reload may have changed them. */
export function settleSettings({ settle }: Settings): SettleSettings {
  return {
    get quietMs() {
      return settle.quiet;
    },
    get timeoutMs() {
      return settle.timeout;
    },
  };
}

export function claimRequest(
  { inbox, owner, nowMs, settings, claimMoments }: Services,
  { path, signature }: Observation,
): ClaimRequest {
  const marker = settings.settle.marker ?? undefined;
  return {
    inbox,
    path,
    signature,
    owner: owner.token,
    nowMs: claimMoments.next(path, nowMs()),
    marker,
  };
}

/** A claim as it goes to the publisher. @throws name.invalid, tag.invalid */
export function toClaimedDrop(
  services: Services,
  claim: Claim,
  { path, kind, tolerateAbsent, look, early }: TakenDrop,
): ClaimedDrop {
  const { policy, name } = resolveDrop(services.settings, path, kind);
  const fromInside = policy === undefined;
  const options = { tag: name.tag, kind, tolerateAbsent, fromInside };
  const drop = { ...toDrop(services, claim, path, options), early: early?.staged };
  const progress = { claimedMs: services.monotonicMs(), attempts: 0, look };
  const { namespace } = name;
  return { claim, name: path, policy, namespace, drop, release: early?.release, ...progress };
}
