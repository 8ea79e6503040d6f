/**
 * Remembers what repositories serve that are published to object stores only: a file holds the last known
 * snapshot of each store, so that a thin drop can be checked without a request.
 */
import { dirname } from 'node:path';
import { hasErrno } from '../../errors.js';
import type { Digest } from '../../image/digest.js';
import { MANIFEST_BYTES_MAX } from '../../image/limits.js';
import type { RepositoryId } from '../../image/names.js';
import { parseSnapshot } from '../../repository/snapshot-file.js';
import type { RepositoryState } from '../../repository/state.js';
import type { Disk } from '../../storage/disk.js';
import { ensureDirectory, readFile, replaceFile } from '../../storage/durable.js';
import { job } from '../../storage/job.js';
import { contentPath, elsewherePath, type TreeRoots } from '../../storage/tree-paths.js';
import type { publishedContent } from './pivot.js';

export interface RememberRequest {
  readonly roots: TreeRoots;
  readonly target: string;
  readonly id: RepositoryId;
  /** Text of the snapshot. */
  readonly text: Uint8Array;
}

export const rememberElsewhere = job(
  'fast',
  import.meta.url,
  function rememberElsewhere(disk: Disk, { roots, target, id, text }: RememberRequest): void {
    const path = elsewherePath(roots, target, id);
    ensureDirectory(disk, dirname(path));
    replaceFile(disk, path, Buffer.from(text), `${path}.tmp`, 0o644);
  },
);

/** Returns what a thin drop may leave out: what all these targets serve for this repository (I8). */
export function publishedElsewhere(
  disk: Disk,
  roots: TreeRoots,
  id: RepositoryId,
  targets: readonly string[],
): ReturnType<typeof publishedContent> {
  const states = targets.map((target) => readState(disk, elsewherePath(roots, target, id)));
  const sizes = states.map(blobSizes);
  return {
    sizeOf: (digest) => {
      const [first, ...others] = sizes.map((each) => each.get(digest));
      return others.every((size) => size === first) ? first : undefined;
    },
    // The bytes are needed, so they must be in the content store.
    readManifest: (digest) => {
      const records = states.map((state) => state?.manifests.get(digest as Digest));
      const [record] = records;
      if (record === undefined || records.includes(undefined)) return undefined;
      const path = contentPath(roots, record.stored ?? (digest as Digest));
      return disk.statIfThere(path) && readFile(disk, path, MANIFEST_BYTES_MAX);
    },
  };
}

function blobSizes(state: RepositoryState | undefined): ReadonlyMap<string, number> {
  const blobs = [...(state?.manifests.values() ?? [])].flatMap((record) => record.blobs);
  return new Map(blobs.map(({ digest, size }) => [digest, size]));
}

/** Returns undefined when no snapshot is remembered. */
function readState(disk: Disk, path: string): RepositoryState | undefined {
  try {
    return parseSnapshot(readFile(disk, path, Number.MAX_SAFE_INTEGER), path).state;
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
}
