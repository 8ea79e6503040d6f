/** From a claim to the drop that is published. */
import { newProgress } from '../disk/progress.js';
import { type Claim, claimKey, claimPath } from '../inbox/paths.js';
import type { DropToPublish } from '../publish/drop.js';
import type { Services } from './services.js';

/** Where a claim lies is where its drop is read from. */
export function toDrop(
  services: Services,
  claim: Claim,
  name: string,
  options: Pick<DropToPublish, 'tag' | 'tolerateAbsent' | 'kind' | 'fromInside'>,
): DropToPublish {
  const { inbox, settings, board } = services;
  const { ingest, archives } = settings;
  const path = claimPath(inbox, claim);
  const progress = newProgress();
  board.take({ key: claimKey(claim), name, path, progress });
  return { name, progress, path, at: claim.at, ingest, compress: archives.compress, ...options };
}
