/** Can a directory be reached, and how full is what it lies on? Asked often, and of disks that may hang. */
import { constants } from 'node:fs';
import { access, statfs } from 'node:fs/promises';

export interface Reach {
  /** Bytes that an ordinary user may still write there. */
  readonly freeBytes: number;
  readonly allBytes: number;
}

/** @throws what the system says: ENOENT, EACCES, EIO */
export async function reachDirectory(path: string, use: 'read' | 'write'): Promise<Reach> {
  const { R_OK, W_OK, X_OK } = constants;
  await access(path, use === 'write' ? R_OK | W_OK | X_OK : R_OK | X_OK);
  const { bavail, blocks, bsize } = await statfs(path);
  return { freeBytes: bavail * bsize, allBytes: blocks * bsize };
}
