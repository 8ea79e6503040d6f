/**
 * Taking a drop, and letting go of it. A drop is always in exactly one place: one rename takes it,
 * one rename gives it back, rejects it, or begins its deletion.
 */
import { basename, join } from 'node:path';
import type { Disk } from '../disk/disk.js';
import {
  ensureDirectory,
  listIfThere,
  readFile,
  removeIfThere,
  statIfThere,
} from '../disk/durable.js';
import { InsideDirectory } from '../disk/inside.js';
import { DropdockError, hasErrno } from '../errors.js';
import { flatDropName } from '../image/names.js';
import { type Timestamp, timestampMs, toTimestamp } from '../snapshot/timestamp.js';
import { finishHalfReceipts, moveToRejected, retire } from './let-go.js';
import { lookAt } from './look.js';
import {
  type Claim,
  claimedDirectory,
  claimPath,
  parseClaim,
  receiptPath,
  receiptsDirectory,
  rejectedDirectory,
  rejectedPath,
} from './paths.js';

export function prepareInbox(disk: Disk, { inbox }: { readonly inbox: string }): void {
  ensureDirectory(disk, inbox);
  // Nobody but us has business among the claims.
  ensureDirectory(disk, claimedDirectory(inbox), 0o700);
  ensureDirectory(disk, rejectedDirectory(inbox));
  ensureDirectory(disk, receiptsDirectory(inbox));
}

export interface ClaimRequest {
  readonly inbox: string;
  readonly path: string;
  /** What the drop looked like when it was found whole. */
  readonly signature: string;
  readonly owner: string;
  readonly nowMs: number;
  readonly marker: string | undefined;
}

/**
 * @returns 'gone' when somebody else took it or it was removed; 'changed' when it is still being
 *   written after all, and lies where it was
 */
export function takeClaim(disk: Disk, request: ClaimRequest): Claim | 'gone' | 'changed' {
  const { inbox, path, signature, owner, nowMs, marker } = request;
  const name = flatDropName(path);
  const claim = { name, owner, at: freeMoment(disk, inbox, name, nowMs) };
  const claimed = claimPath(inbox, claim);
  // Through no link: whoever owns a directory on the way may swap it for one at any moment.
  const taken = InsideDirectory.use(disk, inbox, (inside) =>
    inside.reach(path, (full) => {
      disk.rename(full, claimed);
      return true;
    }),
  );
  if (!taken) return 'gone';
  if (lookAt(disk, claimed).signature !== signature) {
    giveBack(disk, inbox, claim, path);
    return 'changed';
  }
  if (marker !== undefined) removeIfThere(disk, join(inbox, path + marker));
  return claim;
}

/** A moment of which no receipt and no rejected drop of this name speaks yet. */
function freeMoment(disk: Disk, inbox: string, name: string, nowMs: number): Timestamp {
  for (let ms = nowMs; ; ms++) {
    const at = toTimestamp(ms);
    const taken = [receiptPath(inbox, { name, at }), rejectedPath(inbox, { name, at })];
    if (taken.every((path) => statIfThere(disk, path) === undefined)) return at;
  }
}

/** Gives a drop back that turned out to be still on its way. */
export function returnClaim(
  disk: Disk,
  { inbox, claim, path }: { readonly inbox: string; readonly claim: Claim; readonly path: string },
): void {
  giveBack(disk, inbox, claim, path);
}

/** To where it was; beside it, with a label, when its writer has begun anew there. */
function giveBack(disk: Disk, inbox: string, claim: Claim, path: string): void {
  const claimed = claimPath(inbox, claim);
  try {
    const back = InsideDirectory.use(disk, inbox, (inside) =>
      inside.reach(path, (full) => {
        moveWithoutReplacing(disk, claimed, full);
        return true;
      }),
    );
    if (!back) moveBeside(disk, inbox, claim, path);
  } catch (error) {
    const isTaken = hasErrno(error, 'ENOTEMPTY', 'EEXIST', 'ENOTDIR', 'EISDIR', 'ENOENT');
    if (!isTaken && !(error instanceof DropdockError)) throw error;
    moveBeside(disk, inbox, claim, path);
  }
}

function moveBeside(disk: Disk, inbox: string, claim: Claim, path: string): void {
  const label = basename(path).includes('@') ? '-returned-' : '@returned-';
  disk.rename(claimPath(inbox, claim), join(inbox, `${claim.name}${label}${claim.at}`));
}

/** A rename replaces a file, which may be a newer one; it never replaces a directory with files. */
function moveWithoutReplacing(disk: Disk, from: string, to: string): void {
  if (statIfThere(disk, from)?.kind === 'directory') {
    disk.rename(from, to);
    return;
  }
  disk.link(from, to);
  disk.unlink(from);
}

/** All claims, and whose they are. */
export function listClaims(disk: Disk, { inbox }: { readonly inbox: string }): Claim[] {
  return listIfThere(disk, claimedDirectory(inbox)).flatMap(({ name }) => parseClaim(name) ?? []);
}

export interface TakeOverRequest {
  readonly inbox: string;
  readonly owner: string;
  /** Tokens of processes that are gone. */
  readonly dead: readonly string[];
}

export interface TakenClaim {
  readonly claim: Claim;
  readonly kind: 'directory' | 'file';
}

/**
 * Takes over what dead processes had claimed. What already has its receipt is only let go of.
 * @returns the claims that are ours now and are to be published, oldest first
 */
export function takeOverClaims(disk: Disk, { inbox, owner, dead }: TakeOverRequest): TakenClaim[] {
  const taken: TakenClaim[] = [];
  for (const left of listClaims(disk, { inbox })) {
    if (!dead.includes(left.owner)) continue;
    const claim = { ...left, owner };
    try {
      disk.rename(claimPath(inbox, left), claimPath(inbox, claim));
    } catch (error) {
      if (hasErrno(error, 'ENOENT')) continue;
      throw error;
    }
    const status = receiptStatus(disk, inbox, claim);
    if (status === undefined) {
      taken.push({ claim, kind: claimKind(disk, { inbox, claim }) ?? 'directory' });
    } else if (status === 'rejected') moveToRejected(disk, inbox, claim);
    else retire(disk, inbox, claim);
  }
  finishHalfReceipts(disk, inbox, dead);
  return taken.sort((a, b) => timestampMs(a.claim.at) - timestampMs(b.claim.at));
}

/** Undefined for a claim that is gone. */
export function claimKind(
  disk: Disk,
  { inbox, claim }: { readonly inbox: string; readonly claim: Claim },
): TakenClaim['kind'] | undefined {
  const stat = statIfThere(disk, claimPath(inbox, claim));
  if (stat === undefined) return undefined;
  return stat.kind === 'file' ? 'file' : 'directory';
}

function receiptStatus(disk: Disk, inbox: string, claim: Claim): string | undefined {
  const path = receiptPath(inbox, claim);
  if (statIfThere(disk, path) === undefined) return undefined;
  try {
    const receipt = JSON.parse(readFile(disk, path, 64 * 1024 * 1024).toString('utf8'));
    return (receipt as { status?: string }).status;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
