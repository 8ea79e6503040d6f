/**
 * Checks before a large drop is read that there is room for it, so that a disk is not filled by a drop that
 * cannot be completed. Small drops, and drops that turn out too large later, fail with the disk's error and
 * leave nothing behind.
 */
import { join } from 'node:path';
import { DropdockError } from '../errors.js';
import { formatBytes } from '../units.js';
import type { BlobToIngest } from './blob-bytes.js';
import type { Disk } from './disk.js';
import { job } from './job.js';
import { mayLink } from './verified-copy.js';

/** For smaller drops the disk's own error comes soon enough. */
const BIG_BYTES = 8 * 1024 * 1024;

export interface SpaceRequest {
  /** A directory on the filesystem that is written to. */
  readonly place: string;
  readonly blobs: readonly BlobToIngest[];
}

/** @throws space.low */
export const checkSpace = job(
  'fast',
  import.meta.url,
  function checkSpace(disk: Disk, { place, blobs }: SpaceRequest): void {
    const all = blobs.reduce((sum, { size }) => sum + size, 0);
    if (all < BIG_BYTES) return;
    const { bytes: free, hasReflinks } = disk.free(place);
    if (all <= free) return;
    const { dev } = disk.stat(place);
    const needed = blobs.reduce((sum, blob) => {
      if (disk.statIfThere(blob.destination)?.size === blob.size) return sum;
      const stat = disk.statIfThere(join(blob.root, blob.path));
      const shares = blob.offset === undefined && stat !== undefined && stat.dev === dev;
      return shares && (hasReflinks || mayLink(blob, stat)) ? sum : sum + blob.size;
    }, 0);
    requireSpace(place, needed, free);
  },
);

/**
 * For an archive (its content, unpacked or not, needs at most its size) and for a copy of a whole drop.
 * @throws space.low
 */
export function checkArchiveSpace(
  disk: Disk,
  { place, size }: { readonly place: string; readonly size: number },
): void {
  if (size >= BIG_BYTES) requireSpace(place, size, disk.free(place).bytes);
}

function requireSpace(place: string, needed: number, free: number): void {
  if (needed <= free) return;
  throw new DropdockError(
    'space.low',
    `The drop needs ${formatBytes(needed)} in '${place}', but only ${formatBytes(free)} are free.`,
    { path: place, needed, free },
  );
}
