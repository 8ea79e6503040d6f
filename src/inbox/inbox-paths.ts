/**
 * The inbox, drawn once.
 *
 *   <inbox>/<repository>[:<tag>][@<label>]   drops, and directories that are name spaces
 *     .claimed/<path>@<when>.<owner>         a drop taken for publishing; its path, escaped
 *     .rejected/<name>@<when>/               a drop that was refused, whole
 *     .receipts/<name>@<when>.json           what happened to a drop
 */
import { join } from 'node:path';
import { claimName, flatDropName, pathOfClaimName } from '../image/names.js';
import { isTimestamp, type Timestamp } from '../repository/timestamp.js';

export const claimedDirectory = (inbox: string) => join(inbox, '.claimed');
export const rejectedDirectory = (inbox: string) => join(inbox, '.rejected');
export const receiptsDirectory = (inbox: string) => join(inbox, '.receipts');

const CLOCK = '.clock-';

/** Names a drop's receipt, and its place in `.rejected`. */
export interface ReceiptName {
  /** The drop's path as one component: `team~app:1.2`. */
  readonly name: string;
  readonly at: Timestamp;
}

/** A drop that was taken, and by which process. */
export interface Claim extends ReceiptName {
  /** The drop's path below the inbox, exactly: whoever takes the claim over knows it from its name. */
  readonly path: string;
  readonly owner: string;
}

export function newClaim({ path, at, owner }: Omit<Claim, 'name'>): Claim {
  return { path, name: flatDropName(path), at, owner };
}

export function claimFile({ path, at, owner }: Omit<Claim, 'name'>): string {
  return `${claimName(path)}@${at}.${owner}`;
}

export function claimPath(inbox: string, claim: Claim): string {
  return join(claimedDirectory(inbox), claimFile(claim));
}

/** Names a claim among the claims of one process. */
export function claimKey({ path, at }: Claim): string {
  return `${path}@${at}`;
}

/** Undefined for what is no claim. */
export function parseClaim(file: string): Claim | undefined {
  const match = /^(.+)@([^@]+Z)\.([^.@]+)$/s.exec(file);
  const [, name, at, owner] = match ?? [];
  if (name === undefined || at === undefined || owner === undefined) return undefined;
  if (!isTimestamp(at) || file.startsWith('.')) return undefined;
  return newClaim({ path: pathOfClaimName(name), at, owner });
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

export function receiptFile({ name, at }: ReceiptName): string {
  return `${name}@${at}.json`;
}

export function rejectedFile({ name, at }: ReceiptName): string {
  return `${name}@${at}`;
}
