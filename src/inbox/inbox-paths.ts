/**
 * The layout of the inbox:
 *
 *   <inbox>/<repository>[:<tag>][@<label>]   drops, and directories that are namespaces
 *     .claimed/<path>@<when>.<owner>         a claimed drop; its path is escaped
 *     .rejected/<name>@<when>/               a rejected drop, complete
 *     .receipts/<name>@<when>.json           the receipt of a drop
 *     .left/<hashes>                         a drop that was claimed by a copy and stays in the inbox
 *
 * Functions that need only these four take `inbox` as the directory that holds them: the inbox itself, or
 * `<state>/inbox/<hash>` when dropdock may not write to the inbox.
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { claimName, flatDropName, pathOfClaimName } from '../image/names.js';
import { isTimestamp, type Timestamp } from '../repository/timestamp.js';

export const claimedDirectory = (inbox: string) => join(inbox, '.claimed');
export const rejectedDirectory = (inbox: string) => join(inbox, '.rejected');
export const receiptsDirectory = (inbox: string) => join(inbox, '.receipts');
export const leftDirectory = (inbox: string) => join(inbox, '.left');

/** The directory for claims, receipts and rejected drops of an inbox that dropdock may not write to. */
export function readOnlyInboxDirectory(state: string, inbox: string): string {
  return join(state, 'inbox', createHash('sha256').update(inbox).digest('hex').slice(0, 16));
}

const CLOCK = '.clock-';
const COPY = '.copy-';

/** Names the receipt of a drop and its directory in `.rejected`. */
export interface ReceiptName {
  /** The flat name of the drop: its path as one component, such as `team~app:1.2`. */
  readonly name: string;
  readonly at: Timestamp;
}

/** A claimed drop and the process that claimed it. */
export interface Claim extends ReceiptName {
  /**
   * The exact path of the drop in the inbox. A process that takes over the claim reads it from the claim's
   * name.
   */
  readonly path: string;
  readonly owner: string;
  /** The claim is a copy, and the drop stays in the inbox: why. */
  readonly left?: string | undefined;
  /** The owner of the drop, if the claim is a copy. */
  readonly uid?: number | undefined;
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

/** Identifies a claim among the claims of one process. */
export function claimKey({ path, at }: Claim): string {
  return `${path}@${at}`;
}

/** Returns undefined for a name that is not a claim. */
export function parseClaim(file: string): Claim | undefined {
  const match = /^(.+)@([^@]+Z)\.([^.@]+)$/s.exec(file);
  const [, name, at, owner] = match ?? [];
  if (name === undefined || at === undefined || owner === undefined) return undefined;
  if (!isTimestamp(at) || file.startsWith('.')) return undefined;
  return newClaim({ path: pathOfClaimName(name), at, owner });
}

/** Name of a claim that is being deleted. The rest that a crash leaves is not a drop. */
export function doneFile(claim: Claim): string {
  return `.done-${claimFile(claim)}`;
}

export function isDone(file: string): boolean {
  return file.startsWith('.done-');
}

/** Name of a copy that becomes a claim when it is complete. */
export function copyFile(claim: Claim): string {
  return `${COPY}${claimFile(claim)}`;
}

/** Returns the process that makes this copy; undefined for other names. */
export function copyOwner(file: string): string | undefined {
  return file.startsWith(COPY) ? parseClaim(file.slice(COPY.length))?.owner : undefined;
}

/** Name of the file for reading the filesystem time. A crash may leave it behind. */
export function clockFile(owner: string): string {
  return `${CLOCK}${owner}`;
}

/** Returns undefined for other names. */
export function clockOwner(file: string): string | undefined {
  return file.startsWith(CLOCK) ? file.slice(CLOCK.length) : undefined;
}

export function receiptFile({ name, at }: ReceiptName): string {
  return `${name}@${at}.json`;
}

/**
 * Returns where a rejected drop is kept, relative to the inbox; undefined for one that stays in the inbox. A
 * file is in a directory of its own.
 * @param kind undefined if it is not known: the directory in both cases
 */
export function rejectedPath(
  claim: ReceiptName & Pick<Claim, 'left'>,
  kind?: 'directory' | 'file',
): string | undefined {
  if (claim.left !== undefined) return undefined;
  return join('.rejected', rejectedFile(claim), kind === 'file' ? claim.name : '');
}

export function rejectedFile({ name, at }: ReceiptName): string {
  return `${name}@${at}`;
}
