/**
 * The inbox, drawn once.
 *
 *   <inbox>/<repository>[:<tag>][@<label>]   drops, and directories that are name spaces
 *     .claimed/<name>@<when>.<owner>         a drop taken for publishing
 *     .rejected/<name>@<when>/               a drop that was refused, whole
 *     .receipts/<name>@<when>.json           what happened to a drop
 */
import { join } from 'node:path';
import { isTimestamp, type Timestamp } from '../snapshot/timestamp.js';

export const claimedDirectory = (inbox: string) => join(inbox, '.claimed');
export const rejectedDirectory = (inbox: string) => join(inbox, '.rejected');
export const receiptsDirectory = (inbox: string) => join(inbox, '.receipts');

const CLOCK = '.clock-';

/** A claim's parts; `name` is the drop's path as one component and means the same drop. */
export interface Claim {
  readonly name: string;
  readonly at: Timestamp;
  readonly owner: string;
}

export function claimFile({ name, at, owner }: Claim): string {
  return `${name}@${at}.${owner}`;
}

export function claimPath(inbox: string, claim: Claim): string {
  return join(claimedDirectory(inbox), claimFile(claim));
}

/** Names a claim among the claims of one process. */
export function claimKey({ name, at }: Claim): string {
  return `${name}@${at}`;
}

/** Undefined for what is no claim. */
export function parseClaim(file: string): Claim | undefined {
  const match = /^(.+)@([^@]+Z)\.([^.@]+)$/s.exec(file);
  const [, name, at, owner] = match ?? [];
  if (name === undefined || at === undefined || owner === undefined) return undefined;
  return isTimestamp(at) && !file.startsWith('.') ? { name, at, owner } : undefined;
}

/** A claim that is being deleted: what a crash leaves of it is no drop any more. */
export function doneFile(claim: Claim): string {
  return `.done-${claimFile(claim)}`;
}

export function isDone(file: string): boolean {
  return file.startsWith('.done-');
}

/** The file by which a process asks for the inbox's own time; what a crash leaves of it is litter. */
export function clockFile(owner: string): string {
  return `${CLOCK}${owner}`;
}

/** Undefined for what is no such file. */
export function clockOwner(file: string): string | undefined {
  return file.startsWith(CLOCK) ? file.slice(CLOCK.length) : undefined;
}

export function receiptFile({ name, at }: Omit<Claim, 'owner'>): string {
  return `${name}@${at}.json`;
}

export function rejectedFile({ name, at }: Omit<Claim, 'owner'>): string {
  return `${name}@${at}`;
}
