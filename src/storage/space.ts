/**
 * Is there room for what is to be copied? Asked before a big drop is begun, so that a disk is not
 * filled to its last byte with what cannot be finished. Whatever is small, or is found to be too much
 * only on the way, fails as the disk says and leaves nothing behind either.
 */
import { join } from 'node:path';
import { DropdockError } from '../errors.js';
import { formatBytes } from '../units.js';
import type { BlobToIngest } from './blob-bytes.js';
import type { Disk } from './disk.js';
import { job } from './job.js';
import { mayLink } from './verified-copy.js';

/** Below this nobody waits long for a disk to say that it is full. */
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

/** For an archive, which is at least as long as what is in it, unpacked or not. @throws space.low */
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
    `The drop needs ${formatBytes(needed)} in ${place}, ${formatBytes(needed - free)} more than are free.`,
    { path: place, needed, free },
  );
}
