/** Cleaning a repository under its lock, for the daemon and for `dropdock clean`. */
import { DropdockError } from '../errors.js';
import type { CleanRequest } from '../publish/clean.js';
import { lockRepository, type RepositoryLock } from '../publish/lock.js';
import type { Timestamp } from '../snapshot/timestamp.js';
import { lockOptions, type Services } from './services.js';

/**
 * Removes what `planClean` found stale, or only writes down the ages it found worth noting.
 * @param isStale where nothing is, the lock is not waited for: its holder notes the same
 * @returns the snapshots that went
 * @throws lock.busy, system errors
 */
export async function cleanUnderLock(
  services: Services,
  request: Omit<CleanRequest, 'lockLost'>,
  isStale: boolean,
): Promise<Timestamp[]> {
  const { roots, id } = request;
  const options = lockOptions(services);
  let lock: RepositoryLock;
  try {
    lock = await lockRepository(roots, id, isStale ? options : { ...options, waitMs: 0 });
  } catch (error) {
    if (!isStale && error instanceof DropdockError && error.code === 'lock.busy') return [];
    throw error;
  }
  try {
    return await services.run('clean', { ...request, lockLost: lock.lost });
  } finally {
    await lock.release();
  }
}
