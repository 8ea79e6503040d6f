/**
 * A command started by root continues as the owner of the tree. The daemon could neither lock nor link
 * files that root created, and would fail with EACCES. A command of another user is told whom to run as.
 */
import { resolve } from 'node:path';
import { DropdockError, hasErrno } from '../errors.js';
import type { Settings } from '../settings/schema.js';
import { nodeDisk } from '../storage/disk.js';
import { userName } from '../storage/user-names.js';

/** The part of `process` that reads and changes the user. */
export interface ProcessUser {
  getuid?(): number;
  setgroups?(groups: readonly number[]): void;
  setgid?(id: number): void;
  setuid?(id: number): void;
}

/** `run` and `serve` keep the user they are started with; `init` creates the tree; `config` reads no tree. */
const AS_THEY_ARE = new Set(['run', 'serve', 'init', 'config']);
/** Root may start these, but must not run them on a tree of another user. */
const LONG_RUNNING = new Set(['run', 'serve']);

/** @returns the uid the process has from now on; undefined if it did not change */
export function becomeOwner(
  command: string,
  { paths }: Settings,
  user: ProcessUser,
): number | undefined {
  if (AS_THEY_ARE.has(command) || user.getuid?.() !== 0) return undefined;
  const state = ownerOf(paths);
  if (state === undefined || state.uid === 0) return undefined;
  const { uid, gid } = state;
  // The group first: without root the process may not change it.
  user.setgroups?.([gid]);
  user.setgid?.(gid);
  user.setuid?.(uid);
  return uid;
}

function ownerOf({ state }: Settings['paths']) {
  try {
    return nodeDisk.statIfThere(resolve(state));
  } catch {
    return undefined;
  }
}

export interface DeniedCommand {
  readonly command: string;
  /** The arguments, to be repeated in the message. */
  readonly argv: readonly string[];
  readonly paths: Settings['paths'];
  /** Set if root became the owner of the tree. */
  readonly became: number | undefined;
  readonly uid: number | undefined;
}

/** Turns EACCES and EPERM into an error that says who may run the command, and how. */
export function explainDenied(error: unknown, denied: DeniedCommand): unknown {
  if (!hasErrno(error, 'EACCES', 'EPERM') || error.syscall === 'listen') return error;
  const what = cureFor(error.message, denied);
  if (what === undefined) return error;
  const details = error.path === undefined ? {} : { path: error.path };
  return new DropdockError('access.denied', what, details, error);
}

function cureFor(
  why: string,
  { command, argv, paths, became, uid }: DeniedCommand,
): string | undefined {
  if (became !== undefined) {
    const how =
      command === 'publish'
        ? ' Give it the image on standard input: dropdock publish - --as REF <FILE'
        : '';
    return `Root works as user ${userName(became)}, the owner of the tree, who lacks permission: ${why}.${how}`;
  }
  const owner = ownerOf(paths)?.uid;
  if (uid === 0 || owner === uid) return undefined;
  const again = ['dropdock', ...argv].map(quoteForShell).join(' ');
  if (owner === undefined || owner === 0) return `${why}. Run as root: sudo ${again}`;
  const name = userName(owner);
  return LONG_RUNNING.has(command)
    ? `${why}. Run as user ${name}: sudo -u ${quoteForShell(name)} ${again}`
    : `${why}. Run as root or as user ${name}: sudo ${again}`;
}

/** Quotes an argument so that a shell reads it as it is. */
function quoteForShell(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
