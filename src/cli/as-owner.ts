/**
 * A command that root runs works as the user the tree belongs to. What root made the daemon could
 * neither lock nor link any more: it would say EACCES until somebody sees why, and at three in the
 * morning one is root.
 */
import { resolve } from 'node:path';
import { DropdockError, hasErrno } from '../errors.js';
import type { Settings } from '../settings/schema.js';
import { nodeDisk } from '../storage/disk.js';

/** Who runs this process, and how he becomes somebody else: `process`. */
export interface ProcessUser {
  getuid?(): number;
  setgroups?(groups: readonly number[]): void;
  setgid?(id: number): void;
  setuid?(id: number): void;
}

/** The ones that run on get their user from whoever starts them; `init` makes what is not there. */
const AS_THEY_ARE = new Set(['run', 'serve', 'init', 'config']);

/** @returns the user it works as from now on, where that is another */
export function becomeOwner(
  command: string,
  { paths }: Settings,
  user: ProcessUser,
): number | undefined {
  if (AS_THEY_ARE.has(command) || user.getuid?.() !== 0) return undefined;
  const state = nodeDisk.statIfThere(resolve(paths.state));
  if (state === undefined || state.uid === 0) return undefined;
  const { uid, gid } = state;
  // The group first: afterwards there is no right to.
  user.setgroups?.([gid]);
  user.setgid?.(gid);
  user.setuid?.(uid);
  return uid;
}

/** What root would have been allowed: says as whom it was tried. */
export function explainDenied(error: unknown, uid: number): unknown {
  if (!hasErrno(error, 'EACCES', 'EPERM')) return error;
  return new DropdockError(
    'access.denied',
    `User ${uid}, to whom the tree belongs, may not do this: ${error.message}.`,
    { ...(error.path !== undefined && { path: error.path }) },
    error,
  );
}
