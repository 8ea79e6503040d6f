/**
 * Claims drops, and returns or takes over claims. A drop is always in exactly one place: one rename claims
 * it, returns it, rejects it, or starts its deletion.
 */
import { dirname, join } from 'node:path';
import { DropdockError, hasErrno } from '../errors.js';
import { flatDropName, pathWithoutDirectories, returnedPaths } from '../image/names.js';
import { type Timestamp, timestampMs, toTimestamp } from '../repository/timestamp.js';
import type { Disk } from '../storage/disk.js';
import { discard, ensureDirectory, readFile, removeIfThere } from '../storage/durable.js';
import { InsideDirectory } from '../storage/inside-directory.js';
import { job } from '../storage/job.js';
import { finishHalfReceipts, markForDeletion, moveToRejected } from './finish.js';
import { isDeletable, whatForbids } from './forbidden.js';
import {
  type Claim,
  claimedDirectory,
  claimFile,
  claimPath,
  clockFile,
  clockOwner,
  copyOwner,
  leftDirectory,
  newClaim,
  parseClaim,
  readOnlyInboxDirectory,
  receiptFile,
  receiptsDirectory,
  rejectedDirectory,
  rejectedFile,
} from './inbox-paths.js';
import { claimByCopy, leftFields, recoverLeft, returnCopy } from './left.js';
import { ensureOwn, inOwn, listOwn, type OwnDirectory } from './own-directory.js';
import { signatureOf } from './signature.js';

const RECEIPT_BYTES_MAX = 64 * 1024 * 1024;

export const prepareInbox = job(
  'fast',
  import.meta.url,
  function prepareInbox(disk: Disk, { inbox, own = inbox }: InboxPlace): void {
    ensureDirectory(disk, inbox);
    for (const directory of [
      claimedDirectory,
      rejectedDirectory,
      receiptsDirectory,
      leftDirectory,
    ]) {
      ensureOwn(disk, directory(own));
    }
  },
);

export interface InboxPlace {
  readonly inbox: string;
  /** The directory that holds `.claimed` and the others; the inbox if absent. */
  readonly own?: string | undefined;
}

/**
 * Returns the directory for claims, receipts and rejected drops: the inbox itself, or one in `state` when this
 * process may not write to the inbox (a read-only medium, an export).
 * @param isDaemon false for a command: it uses the directory in `state` only if a daemon has made it
 */
export const findOwnInbox = job(
  'fast',
  import.meta.url,
  function findOwnInbox(
    disk: Disk,
    { inbox, state, isDaemon }: { inbox: string; state: string; isDaemon: boolean },
  ): string {
    if (disk.statIfThere(inbox) === undefined || disk.mayWrite(inbox)) return inbox;
    const own = readOnlyInboxDirectory(state, inbox);
    return isDaemon || disk.statIfThere(own) !== undefined ? own : inbox;
  },
);

export interface ClaimRequest extends InboxPlace {
  readonly path: string;
  /** Signature of the drop when it was found complete. */
  readonly signature: string;
  readonly owner: string;
  readonly nowMs: number;
  readonly marker: string | undefined;
  /**
   * What becomes of a drop after its claim (inbox.after). `remove` (default): it is moved, or the claim fails.
   * `leave`: it is copied. `auto`: it is copied if it cannot be moved and deleted.
   */
  readonly after?: 'auto' | 'leave' | 'remove';
}

/**
 * 'gone': another daemon claimed it, or it was removed. 'changed': it is still being written and was left in
 * place.
 */
export type ClaimResult = Claim | 'gone' | 'changed';

export function claimDrop(disk: Disk, request: ClaimRequest): ClaimResult {
  const { inbox, own: ownInbox = inbox, path, signature, owner, nowMs, marker } = request;
  const at = freeMoment(disk, ownInbox, flatDropName(path), nowMs);
  const claim = newClaim({ path, owner, at });
  const taken = { inbox, own: ownInbox, claim };
  // Everything is opened before the rename: if no more files can be opened later, the drop can still be
  // returned.
  return inOwn(disk, claimedDirectory(ownInbox), (own) =>
    InsideDirectory.use(disk, inbox, (inside) => {
      const claimed = own.at(claimFile(claim));
      const moved = moveOrExplain(disk, inside, request, claimed);
      if (typeof moved === 'string') {
        return claimByCopy(disk, inside, { inbox: ownInbox, claim, signature, reason: moved });
      }
      if (!moved) return 'gone';
      let seen: string;
      try {
        seen = signatureOf(disk, claimed).signature;
      } catch (error) {
        // Returned at once. Otherwise the drop would be lost until the next takeover of claims.
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
 * Moves the drop to its claim.
 * @returns false when it is gone, and the reason if it has to stay
 */
function moveOrExplain(
  disk: Disk,
  inside: InsideDirectory,
  { inbox, path, after = 'remove' }: ClaimRequest,
  claimed: string,
): boolean | string {
  if (after === 'leave') return 'inbox.after is leave';
  try {
    // Follows no link: the owner of a parent directory could replace it with a link at any time.
    const stays = inside.reach(path, (full) => {
      const isOthers = disk.statIfThere(full)?.uid !== process.getuid?.();
      if (after === 'auto' && isOthers && !isDeletable(disk, full)) return true;
      disk.rename(full, claimed);
      return false;
    });
    if (stays === undefined) return false;
    return stays ? whatForbids(disk, { inbox, path }) : true;
  } catch (error) {
    if (after === 'remove') throw error;
    if (hasErrno(error, 'EACCES', 'EPERM')) return whatForbids(disk, { inbox, path });
    if (hasErrno(error, 'EROFS', 'EXDEV')) {
      const isWritable = inside.reach(path, (full) => disk.mayWrite(`${dirname(full)}/.`));
      const which = isWritable ? 'another filesystem than .claimed' : 'a read-only filesystem';
      return `it is on ${which}; delete it when you no longer need it`;
    }
    throw error;
  }
}

/**
 * Returns a time at which there is no receipt and no rejected drop of this name. Only checks existence, so
 * links need no care here.
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

interface Returned extends InboxPlace {
  readonly claim: Claim;
}

/** Returns a drop to the inbox that is incomplete. */
export const returnClaim = job(
  'fast',
  import.meta.url,
  function returnClaim(disk: Disk, returned: Returned): void {
    const { inbox, own: ownInbox = inbox } = returned;
    if (returnCopy(disk, ownInbox, returned.claim)) return;
    inOwn(disk, claimedDirectory(ownInbox), (own) =>
      InsideDirectory.use(disk, inbox, (inside) => moveBack(disk, own, inside, returned)),
    );
  },
);

/**
 * Moves it back to its path. If a new drop is there, it goes beside it under another label. If its directory
 * is gone, it goes into the inbox under an equivalent name.
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
 * @returns the obstacle: another drop, or a parent directory that is gone or a link
 * @throws all other errors
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
      moved ?? new DropdockError('claim.lost', `The directory of '${to}' is gone.`, { path: to })
    );
  } catch (error) {
    if (error instanceof DropdockError || hasErrno(error, 'ENOENT', ...OCCUPIED)) {
      return error as Error;
    }
    throw error;
  }
}

/** A rename replaces a file, which may be a newer drop. It never replaces a directory with files. */
function moveWithoutReplacing(disk: Disk, from: string, to: string): void {
  if (disk.statIfThere(from)?.kind === 'directory') {
    disk.rename(from, to);
    return;
  }
  disk.link(from, to);
  removeIfThere(disk, from);
}

/** Returns all claims, with their owners. */
export const listClaims = job(
  'fast',
  import.meta.url,
  function listClaims(disk: Disk, { inbox }: { readonly inbox: string }): Claim[] {
    return listOwn(disk, claimedDirectory(inbox)).flatMap(({ name }) => parseClaim(name) ?? []);
  },
);

/** Returns the processes that left a file for the filesystem time, or a copy that became no claim. */
export function clockOwners(disk: Disk, { inbox }: { readonly inbox: string }): string[] {
  return listOwn(disk, claimedDirectory(inbox)).flatMap(
    ({ name }) => clockOwner(name) ?? copyOwner(name) ?? [],
  );
}

export interface TakeOverRequest {
  readonly inbox: string;
  readonly owner: string;
  /** Ids of processes that are gone. */
  readonly dead: readonly string[];
}

export interface TakenClaim {
  readonly claim: Claim;
  readonly kind: 'directory' | 'file';
}

/**
 * Takes over the claims of dead processes. A claim that has its receipt is only deleted.
 * @returns the claims to be published by this process, oldest first
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
        const kind = claimKind(disk, { inbox, claim }) ?? 'directory';
        taken.push({ claim: { ...claim, ...leftFields(disk, inbox, claim) }, kind });
      } else if (status === 'rejected') moveToRejected(disk, inbox, claim);
      else markForDeletion(disk, inbox, claim);
    }
    finishHalfReceipts(disk, inbox, dead);
    recoverLeft(disk, inbox, dead);
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

/** Returns undefined when the claim is gone. */
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

/**
 * Returns the owner of a claimed drop, for the history: users cannot give files to others, so it tells who
 * dropped it. Undefined when the claim is gone or cannot be read; that must not prevent the publish.
 */
export const claimUid = job(
  'fast',
  import.meta.url,
  function claimUid(
    disk: Disk,
    { inbox, claim }: { readonly inbox: string; readonly claim: Claim },
  ): number | undefined {
    // A copy belongs to the daemon.
    if (claim.uid !== undefined) return claim.uid;
    try {
      return disk.statIfThere(claimPath(inbox, claim))?.uid;
    } catch {
      return undefined;
    }
  },
);

function receiptStatus(disk: Disk, inbox: string, claim: Claim): string | undefined {
  return inOwn(disk, receiptsDirectory(inbox), (own) => {
    const path = own.at(receiptFile(claim));
    // A foreign directory or link of that name is not a receipt.
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
