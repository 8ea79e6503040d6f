/**
 * A command started by root continues as the owner of the tree. The daemon could neither lock nor link
 * files that root created, and would fail with EACCES.
 */
import { resolve } from 'node:path';
import { DropdockError, hasErrno } from '../errors.js';
import type { Settings } from '../settings/schema.js';
import { nodeDisk } from '../storage/disk.js';

/** The part of `process` that reads and changes the user. */
export interface ProcessUser {
  getuid?(): number;
  setgroups?(groups: readonly number[]): void;
  setgid?(id: number): void;
  setuid?(id: number): void;
}

/** `run` and `serve` keep the user they are started with; `init` creates the tree; `config` reads no tree. */
const AS_THEY_ARE = new Set(['run', 'serve', 'init', 'config']);

/** @returns the uid the process has from now on; undefined if it did not change */
export function becomeOwner(
  command: string,
  { paths }: Settings,
  user: ProcessUser,
): number | undefined {
  if (AS_THEY_ARE.has(command) || user.getuid?.() !== 0) return undefined;
  const state = nodeDisk.statIfThere(resolve(paths.state));
  if (state === undefined || state.uid === 0) return undefined;
  const { uid, gid } = state;
  // The group first: without root the process may not change it.
  user.setgroups?.([gid]);
  user.setgid?.(gid);
  user.setuid?.(uid);
  return uid;
}

/** Turns EACCES and EPERM into an error that names the user the command ran as. */
export function explainDenied(error: unknown, uid: number): unknown {
  if (!hasErrno(error, 'EACCES', 'EPERM')) return error;
  return new DropdockError(
    'access.denied',
    `Permission denied for user ${uid}, the owner of the tree: ${error.message}.`,
    { ...(error.path !== undefined && { path: error.path }) },
    error,
  );
}
