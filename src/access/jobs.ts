/** bcrypt is slow on purpose: it runs on a thread, so that no guess of a password stops the loop. */
import { compareSync } from 'bcryptjs';
import type { Disk } from '../disk/disk.js';

export interface PasswordRequest {
  readonly password: string;
  readonly hash: string;
}

export const accessJobs = {
  checkPassword: (_disk: Disk, { password, hash }: PasswordRequest): boolean =>
    compareSync(password, hash),
} as const;

export type AccessJobs = typeof accessJobs;
