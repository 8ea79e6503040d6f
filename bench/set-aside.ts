/**
 * Small files that are no longer used stay until the benchmark ends. ext4 without a journal (the machine of
 * these figures) skips inodes that were deleted within the last minutes when it looks for a free one:
 * creating a file took 7 to 24 µs, but 160 to 180 µs after some thousands had been removed. Measurements
 * after a removal would be slower.
 */
import { renameSync } from 'node:fs';
import { join } from 'node:path';

let serial = 0;

/** @param directory of the benchmark, removed at its end */
export function setAside(directory: string, path: string): void {
  renameSync(path, join(directory, `set-aside-${++serial}`));
}
