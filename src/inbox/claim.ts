/**
 * Taking a drop, and letting go of it. A drop is always in exactly one place: one rename takes it,
 * one rename gives it back, rejects it, or begins its deletion.
 */
import { join } from 'node:path';
import { DropdockError, hasErrno } from '../errors.js';
import { flatDropName, pathWithoutDirectories, returnedPaths } from '../image/names.js';
import { type Timestamp, timestampMs, toTimestamp } from '../repository/timestamp.js';
import type { Disk } from '../storage/disk.js';
import { discard, ensureDirectory, readFile, removeIfThere } from '../storage/durable.js';
import { InsideDirectory } from '../storage/inside-directory.js';
import { job } from '../storage/job.js';
import { finishHalfReceipts, markForDeletion, moveToRejected } from './finish.js';
import {
  type Claim,
  claimedDirectory,
  claimFile,
  clockFile,
  clockOwner,
  newClaim,
  parseClaim,
  receiptFile,
  receiptsDirectory,
  rejectedDirectory,
  rejectedFile,
} from './inbox-paths.js';
import { ensureOwn, inOwn, listOwn, type OwnDirectory } from './own-directory.js';
import { signatureOf } from './signature.js';

const RECEIPT_BYTES_MAX = 64 * 1024 * 1024;

export const prepareInbox = job(
  'fast',
  import.meta.url,
  function prepareInbox(disk: Disk, { inbox }: { readonly inbox: string }): void {
    ensureDirectory(disk, inbox);
    for (const own of [claimedDirectory, rejectedDirectory, receiptsDirectory]) {
      ensureOwn(disk, own(inbox));
    }
  },
);

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
 * 'gone' when somebody else took it or it was removed; 'changed' when it is still being written after
 * all, and lies where it was.
 */
export type ClaimResult = Claim | 'gone' | 'changed';

export function claimDrop(disk: Disk, request: ClaimRequest): ClaimResult {
  const { inbox, path, signature, owner, nowMs, marker } = request;
  const at = freeMoment(disk, inbox, flatDropName(path), nowMs);
  const claim = newClaim({ path, owner, at });
  const taken = { inbox, claim };
  // All is open before the rename: where no more can be opened after it, the drop still goes back.
  return inOwn(disk, claimedDirectory(inbox), (own) =>
    InsideDirectory.use(disk, inbox, (inside) => {
      const claimed = own.at(claimFile(claim));
      // Through no link: whoever owns a directory on the way may swap it for one at any moment.
      const isTaken = inside.reach(path, (full) => {
        disk.rename(full, claimed);
        return true;
      });
      if (!isTaken) return 'gone';
      let seen: string;
      try {
        seen = signatureOf(disk, claimed).signature;
      } catch (error) {
        // Back at once, to be looked at again; else nobody would know of it until the next takeover.
        discard(() => moveBack(disk, own, inside, taken));
        throw error;
      }
      if (seen !== signature) {
        moveBack(disk, own, inside, taken);
        return 'changed';
      }
      if (marker !== undefined) {
        inside.reach(path + marker, (full) => removeIfThere(disk, full));
      }
      return claim;
    }),
  );
}

/**
 * A moment of which no receipt and no rejected drop of this name speaks yet. These are only looked at,
 * so it does not matter where the way there leads.
 */
function freeMoment(disk: Disk, inbox: string, name: string, nowMs: number): Timestamp {
  for (let ms = nowMs; ; ms++) {
    const at = toTimestamp(ms);
    const taken = [
      join(receiptsDirectory(inbox), receiptFile({ name, at })),
      join(rejectedDirectory(inbox), rejectedFile({ name, at })),
    ];
    if (taken.every((path) => disk.statIfThere(path) === undefined)) return at;
  }
}

interface Returned {
  readonly inbox: string;
  readonly claim: Claim;
}

/** Gives a drop back that turned out to be still on its way. */
export const returnClaim = job(
  'fast',
  import.meta.url,
  function returnClaim(disk: Disk, returned: Returned): void {
    inOwn(disk, claimedDirectory(returned.inbox), (own) =>
      InsideDirectory.use(disk, returned.inbox, (inside) => moveBack(disk, own, inside, returned)),
    );
  },
);

/**
 * To where it was. Where its writer has begun anew there it goes beside that, under another label; where
 * its directory is gone, into the inbox under a name that means the same.
 */
function moveBack(
  disk: Disk,
  own: Pick<OwnDirectory, 'at'>,
  inside: InsideDirectory,
  { claim }: Returned,
): void {
  const { path, at } = claim;
  const claimed = own.at(claimFile(claim));
  const options = { isFile: disk.stat(claimed).kind === 'file', at, seed: timestampMs(at) };
  const inPlace = [path, ...returnedPaths(path, options)];
  const inInbox = returnedPaths(pathWithoutDirectories(path), options);
  let refusal: unknown;
  for (const paths of [inPlace, inInbox]) {
    for (const target of paths) {
      const result = moveInside(disk, claimed, inside, target);
      if (result === 'moved') return;
      refusal = result;
      if (result instanceof DropdockError && result.code === 'claim.lost') break;
    }
  }
  throw refusal;
}

const OCCUPIED = ['ENOTEMPTY', 'EEXIST', 'ENOTDIR', 'EISDIR'] as const;

/**
 * @returns what is in its way: another drop, or a directory on the way that is gone or a link
 * @throws every other error
 */
function moveInside(
  disk: Disk,
  from: string,
  inside: InsideDirectory,
  to: string,
): 'moved' | Error {
  try {
    const moved = inside.reach(to, (full) => {
      moveWithoutReplacing(disk, from, full);
      return 'moved' as const;
    });
    return (
      moved ?? new DropdockError('claim.lost', `There is no directory for ${to}.`, { path: to })
    );
  } catch (error) {
    if (error instanceof DropdockError || hasErrno(error, 'ENOENT', ...OCCUPIED)) {
      return error as Error;
    }
    throw error;
  }
}

/** A rename replaces a file, which may be a newer one; it never replaces a directory with files. */
function moveWithoutReplacing(disk: Disk, from: string, to: string): void {
  if (disk.statIfThere(from)?.kind === 'directory') {
    disk.rename(from, to);
    return;
  }
  disk.link(from, to);
  removeIfThere(disk, from);
}

/** All claims, and whose they are. */
export const listClaims = job(
  'fast',
  import.meta.url,
  function listClaims(disk: Disk, { inbox }: { readonly inbox: string }): Claim[] {
    return listOwn(disk, claimedDirectory(inbox)).flatMap(({ name }) => parseClaim(name) ?? []);
  },
);

/** Who has asked for the inbox's time and has not tidied up yet. */
export function clockOwners(disk: Disk, { inbox }: { readonly inbox: string }): string[] {
  return listOwn(disk, claimedDirectory(inbox)).flatMap(({ name }) => clockOwner(name) ?? []);
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
export const takeOverClaims = job(
  'fast',
  import.meta.url,
  function takeOverClaims(disk: Disk, { inbox, owner, dead }: TakeOverRequest): TakenClaim[] {
    const taken: TakenClaim[] = [];
    for (const left of listClaims(disk, { inbox })) {
      if (!dead.includes(left.owner)) continue;
      const claim = { ...left, owner };
      if (!changeOwner(disk, inbox, left, claim)) continue;
      const status = receiptStatus(disk, inbox, claim);
      if (status === undefined) {
        taken.push({ claim, kind: claimKind(disk, { inbox, claim }) ?? 'directory' });
      } else if (status === 'rejected') moveToRejected(disk, inbox, claim);
      else markForDeletion(disk, inbox, claim);
    }
    finishHalfReceipts(disk, inbox, dead);
    inOwn(disk, claimedDirectory(inbox), (own) => {
      for (const token of dead) removeIfThere(disk, own.at(clockFile(token)));
    });
    return taken.sort((a, b) => timestampMs(a.claim.at) - timestampMs(b.claim.at));
  },
);

/** @returns false when another daemon was faster */
function changeOwner(disk: Disk, inbox: string, from: Claim, to: Claim): boolean {
  return inOwn(disk, claimedDirectory(inbox), (own) => {
    try {
      disk.rename(own.at(claimFile(from)), own.at(claimFile(to)));
      return true;
    } catch (error) {
      if (hasErrno(error, 'ENOENT')) return false;
      throw error;
    }
  });
}

/** Undefined for a claim that is gone. */
export const claimKind = job(
  'fast',
  import.meta.url,
  function claimKind(
    disk: Disk,
    { inbox, claim }: { readonly inbox: string; readonly claim: Claim },
  ): TakenClaim['kind'] | undefined {
    const stat = inOwn(disk, claimedDirectory(inbox), (own) =>
      disk.statIfThere(own.at(claimFile(claim))),
    );
    if (stat === undefined) return undefined;
    return stat.kind === 'file' ? 'file' : 'directory';
  },
);

function receiptStatus(disk: Disk, inbox: string, claim: Claim): string | undefined {
  return inOwn(disk, receiptsDirectory(inbox), (own) => {
    const path = own.at(receiptFile(claim));
    // Somebody else's directory or link of that name is no receipt.
    if (disk.statIfThere(path)?.kind !== 'file') return undefined;
    try {
      const receipt = JSON.parse(readFile(disk, path, RECEIPT_BYTES_MAX).toString('utf8'));
      return (receipt as { status?: string }).status;
    } catch (error) {
      if (error instanceof SyntaxError) return undefined;
      throw error;
    }
  });
}
