/** Compares passwords: bcrypt is slow on purpose. */
import type { Disk } from '../storage/disk.js';
import { job } from '../storage/job.js';
import { bcryptCost, hashOfNobody } from './htpasswd.js';

export interface PasswordRequest {
  readonly password: string;
  readonly hash: string;
  /** The bcrypt cost of a wrong password, the same for every user; at least the cost of the hash. */
  readonly cost?: number;
}

/**
 * A wrong password takes equally long for every user: each step of bcrypt's cost doubles the work, so one
 * extra hash for each cost from the user's own up to the highest adds exactly the difference.
 */
export const checkPassword = job(
  'background',
  import.meta.url,
  async function checkPassword(
    _disk: Disk,
    { password, hash, cost = 0 }: PasswordRequest,
  ): Promise<boolean> {
    const { compareSync } = await import('bcryptjs');
    if (compareSync(password, hash)) return true;
    for (let step = bcryptCost(hash); step < cost; step++)
      compareSync(password, hashOfNobody(step));
    return false;
  },
);
