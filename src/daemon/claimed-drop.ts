/** Makes the claimed drop that the publisher gets, from an observation in the inbox. */

import { type DropName, parseDropName } from '../image/names.js';
import type { ClaimRequest } from '../inbox/claim.js';
import { type Claim, claimPath } from '../inbox/inbox-paths.js';
import type { Observation } from '../inbox/scan.js';
import type { ClaimedDrop } from '../publisher/drop-record.js';
import { type ResolvedRepository, resolveRepository } from '../settings/repository-policy.js';
import type { Settings } from '../settings/schema.js';
import { newProgress } from '../storage/progress.js';
import type { Services } from './services.js';

/** The properties of a drop that are known when it is claimed. */
export interface ClaimableDrop extends Partial<Pick<ClaimedDrop, 'look' | 'held'>> {
  readonly path: string;
  readonly kind: Observation['kind'];
  readonly tolerateAbsent: boolean;
  /** The name of its owner; undefined if unknown. */
  readonly by?: string | undefined;
}

/** Parses a drop's name. @returns no policy for a bundle @throws name.invalid, tag.invalid */
export function resolveDrop(
  settings: Settings,
  path: string,
  kind: Observation['kind'],
): { policy: ResolvedRepository | undefined; name: DropName } {
  const name = parseDropName(path, kind === 'file');
  const { repository } = name;
  return { name, policy: repository && resolveRepository(settings, repository) };
}

export function claimRequest(
  { inbox, ownInbox, owner, nowMs, settings, claimMoments }: Services,
  { path, signature }: Observation,
): ClaimRequest {
  const marker = settings.settle.marker ?? undefined;
  const at = claimMoments.next(path, nowMs());
  const { after } = settings.inbox;
  return {
    inbox,
    own: ownInbox,
    path,
    signature,
    owner: owner.token,
    nowMs: at,
    marker,
    after,
  };
}

/** @throws name.invalid, tag.invalid */
export function toClaimedDrop(
  { settings, ownInbox, monotonicMs }: Services,
  claim: Claim,
  { path, kind, tolerateAbsent, by, look, held }: ClaimableDrop,
): ClaimedDrop {
  const { policy, name } = resolveDrop(settings, path, kind);
  const { ingest, archives } = settings;
  const drop = {
    name: path,
    // The claim renamed the drop.
    path: claimPath(ownInbox, claim),
    kind,
    at: claim.at,
    by,
    tag: name.tag,
    fromInside: policy === undefined,
    tolerateAbsent,
    ingest,
    progress: newProgress(),
    compress: archives.compress,
  };
  const { namespace } = name;
  const claimedMs = monotonicMs();
  return { claim, name: path, policy, namespace, drop, claimedMs, look, held };
}
