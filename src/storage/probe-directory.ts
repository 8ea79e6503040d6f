/**
 * Checks whether a directory can be used, and how full its filesystem is. Called often, also for disks that
 * may hang.
 */
import { constants } from 'node:fs';
import { access, statfs } from 'node:fs/promises';

export interface Reach {
  /** Free bytes available to an ordinary user. */
  readonly freeBytes: number;
  readonly allBytes: number;
}

/** @throws the system error: ENOENT, EACCES, EIO */
export async function reachDirectory(path: string, use: 'read' | 'write'): Promise<Reach> {
  const { R_OK, W_OK, X_OK } = constants;
  await access(path, use === 'write' ? R_OK | W_OK | X_OK : R_OK | X_OK);
  const { bavail, blocks, bsize } = await statfs(path);
  return { freeBytes: bavail * bsize, allBytes: blocks * bsize };
}
