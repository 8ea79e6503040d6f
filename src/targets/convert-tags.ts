/** Converts images to their Docker form for a target, and stores the result. */
import type { Digest } from '../image/digest.js';
import type { LeftOut } from '../image/staged-content.js';
import { convertAll, wantedSince } from '../repository/convert.js';
import type { RepositoryPolicy } from '../repository/next-state.js';
import { type RepositoryState, withBlobsOf } from '../repository/state.js';
import type { Disk } from '../storage/disk.js';
import { ingestAllBytes } from '../storage/into-store.js';
import { loadManifest } from '../storage/stored.js';
import { contentPath, type TreeRoots, workPath } from '../storage/tree-paths.js';

export interface ConvertRequest {
  readonly roots: TreeRoots;
  readonly policy: Pick<RepositoryPolicy, 'redirectOci'>;
  readonly transaction: string;
}

/**
 * Adds the Docker form of tagged OCI images, or removes it, depending on the settings.
 * @param before the state that `merged` was made from, if all of it was converted
 */
export function convertTags(
  disk: Disk,
  { roots, policy, transaction }: ConvertRequest,
  merged: RepositoryState,
  before?: RepositoryState,
): { state: RepositoryState; leftOut: readonly LeftOut[] } {
  if (policy.redirectOci !== 'convert') {
    return { state: { ...merged, conversions: new Map() }, leftOut: [] };
  }
  const wanted = wantedSince(before, merged);
  const load = (digest: Digest) => loadManifest(disk, roots, digest);
  const { manifests: known } = merged;
  const { conversions, made, leftOut } = convertAll(wanted, merged.conversions, {
    manifests: known,
    load,
  });
  ingestAllBytes(
    disk,
    made.map(({ digest, bytes }) => ({ bytes, destination: contentPath(roots, digest) })),
    workPath(roots, transaction),
  );
  const records = made.map(({ digest, record }) => {
    // The converted manifest may also have been dropped itself, with a layer that the original was published
    // without.
    const there = known.get(digest);
    return [digest, there ? withBlobsOf(there, record) : record] as const;
  });
  const manifests = records.length > 0 ? new Map([...known, ...records]) : known;
  return { state: { ...merged, manifests, conversions }, leftOut };
}
