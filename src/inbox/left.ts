/**
 * Drops that stay in the inbox, because dropdock may not move or delete them: the directory of another user,
 * a read-only medium, another filesystem. Such a drop is claimed by copying it. A record in `.left/` makes
 * sure that each is published once, and again when it changes; the record is deleted when the drop is gone.
 * Daemons that share an inbox share its records, and only one of them can create a record.
 */
import { createHash } from 'node:crypto';
import { dirname } from 'node:path';
import { hasErrno } from '../errors.js';
import { DROP_DEPTH_MAX } from '../image/limits.js';
import { flatDropName } from '../image/names.js';
import { isTimestamp, type Timestamp } from '../repository/timestamp.js';
import type { Disk } from '../storage/disk.js';
import {
  discard,
  makeDirectory,
  readFile,
  removeIfThere,
  withOpen,
  writeAll,
  writeNewFile,
} from '../storage/durable.js';
import type { InsideDirectory } from '../storage/inside-directory.js';
import { removeTree } from '../storage/remove-tree.js';
import { checkArchiveSpace } from '../storage/space.js';
import {
  type Claim,
  claimedDirectory,
  claimFile,
  copyFile,
  copyOwner,
  leftDirectory,
  parseClaim,
  receiptFile,
  receiptsDirectory,
  rejectedDirectory,
  rejectedFile,
} from './inbox-paths.js';
import { inOwn, listOwn, type OwnDirectory } from './own-directory.js';
import { signatureOf, within } from './signature.js';

/** Why a drop stays, and its claim. */
export interface LeftDrop {
  /** Its path in the inbox. */
  readonly path: string;
  readonly at: Timestamp;
  /** The process that claimed it. */
  readonly owner: string;
  /** The owner of the drop. */
  readonly uid?: number | undefined;
  /** A sentence for the log; it ends with the command to run, if one helps. */
  readonly reason: string;
}

const RECORD_BYTES_MAX = 64 * 1024;
const COPY_BYTES = 1024 * 1024;
/** Users who may write to the inbox could replace a record. */
const REASON_MAX = 2000;

/**
 * Names the record of a drop. The modes of the drop and of its directory are a part of it: after a chmod
 * that lets dropdock move the drop, it is claimed again, and then removed.
 * @param full a path to the drop, relative to an open directory
 */
export function leftFile(disk: Disk, full: string, path: string, signature: string): string {
  const access = [full, `${dirname(full)}/.`].map((each) => {
    const { mode, uid, gid } = disk.stat(each);
    return `${mode} ${uid} ${gid}`;
  });
  const hash = (text: string) => createHash('sha256').update(text).digest('hex').slice(0, 40);
  return `${hash(path)}-${hash([signature, ...access].join('\n'))}`;
}

/** Returns all records by file name. Unreadable ones, which a power cut may leave, are not records. */
export function readLeft(disk: Disk, inbox: string): Map<string, LeftDrop> {
  const directory = leftDirectory(inbox);
  const names = listOwn(disk, directory);
  if (names.length === 0) return new Map();
  return inOwn(disk, directory, (own) => {
    const found = names.flatMap(({ name }) => {
      const left = readRecord(disk, own.at(name));
      return left === undefined ? [] : [[name, left] as const];
    });
    return new Map(found);
  });
}

function readRecord(disk: Disk, path: string): LeftDrop | undefined {
  try {
    if (disk.statIfThere(path)?.kind !== 'file') return undefined;
    const record = JSON.parse(readFile(disk, path, RECORD_BYTES_MAX).toString('utf8')) as LeftDrop;
    const { at, owner, reason } = record;
    const isRecord = isTimestamp(at) && typeof owner === 'string' && typeof reason === 'string';
    if (!isRecord || typeof record.path !== 'string') return undefined;
    return { ...record, reason: reason.slice(0, REASON_MAX) };
  } catch (error) {
    if (error instanceof SyntaxError || hasErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
}

/** Deletes the records of drops that are gone or have changed. */
export function forgetLeft(disk: Disk, inbox: string, names: readonly string[]): void {
  if (names.length === 0) return;
  inOwn(disk, leftDirectory(inbox), (own) => {
    for (const name of names) removeIfThere(disk, own.at(name));
  });
}

export interface CopyRequest {
  /** The directory that holds `.claimed`. */
  readonly inbox: string;
  readonly claim: Claim;
  readonly signature: string;
  readonly reason: string;
}

/**
 * Claims a drop by copying it. The copy is synced before it becomes a claim: after a power cut a claim is
 * complete.
 * @param inside the inbox, open
 * @returns 'gone' also when another daemon has claimed it; 'changed' when it changed while it was copied
 * @throws space.low, system errors; then neither a copy nor a record remains
 */
export function claimByCopy(
  disk: Disk,
  inside: InsideDirectory,
  { inbox, claim, signature, reason }: CopyRequest,
): Claim | 'gone' | 'changed' {
  const { path, at, owner } = claim;
  const file = inside.reach(path, (full) => leftFile(disk, full, path, signature));
  if (file === undefined) return 'gone';
  const uid = inside.stat(path)?.uid;
  return inOwn(disk, leftDirectory(inbox), (records) =>
    inOwn(disk, claimedDirectory(inbox), (claimed) => {
      if (!createRecord(disk, records.at(file), { path, at, owner, uid, reason })) return 'gone';
      const copy = claimed.at(copyFile(claim));
      let result: 'gone' | 'changed' | undefined;
      try {
        records.sync();
        result = inside.reach(path, (full) => {
          const { signature: now, bytes } = signatureOf(disk, full);
          if (now !== signature) return 'changed';
          checkArchiveSpace(disk, { place: claimedDirectory(inbox), size: bytes });
          copyEntry(disk, full, copy, 0);
          return signatureOf(disk, full).signature === signature ? undefined : 'changed';
        });
        if (result === undefined && disk.statIfThere(copy) === undefined) result = 'gone';
        if (result === undefined) {
          disk.rename(copy, claimed.at(claimFile(claim)));
          claimed.sync();
          return { ...claim, left: reason, uid };
        }
      } catch (error) {
        undo(disk, copy, records.at(file));
        throw error;
      }
      undo(disk, copy, records.at(file));
      return result;
    }),
  );
}

function undo(disk: Disk, copy: string, record: string): void {
  discard(() => removeTree(disk, copy));
  discard(() => removeIfThere(disk, record));
}

/** @returns false when there is a record already */
function createRecord(disk: Disk, path: string, left: LeftDrop): boolean {
  const bytes = Buffer.from(`${JSON.stringify(left)}\n`);
  for (let tries = 0; tries < 2; tries++) {
    try {
      writeNewFile(disk, path, bytes, { mode: 0o644 });
      return true;
    } catch (error) {
      if (!hasErrno(error, 'EEXIST')) {
        discard(() => removeIfThere(disk, path));
        throw error;
      }
      if (readRecord(disk, path) !== undefined) return false;
      // A power cut left it empty.
      removeIfThere(disk, path);
    }
  }
  return false;
}

/** Copies files and directories and syncs them. Anything else is no part of an image. */
function copyEntry(disk: Disk, from: string, to: string, depth: number): void {
  const kind = disk.statIfThere(from)?.kind;
  if (kind === 'directory') copyDirectory(disk, from, to, depth);
  else if (kind === 'file') copyBytes(disk, from, to);
}

function copyDirectory(disk: Disk, from: string, to: string, depth: number): void {
  if (depth > DROP_DEPTH_MAX) return;
  withOpen(disk, from, 'directory', (fd) => {
    makeDirectory(disk, to, 0o755);
    withOpen(disk, to, 'directory', (target) => {
      for (const { name } of disk.list(within(fd))) {
        copyEntry(disk, within(fd, name), within(target, name), depth + 1);
      }
      disk.sync(target);
    });
  });
}

function copyBytes(disk: Disk, from: string, to: string): void {
  const buffer = Buffer.allocUnsafe(COPY_BYTES);
  withOpen(disk, from, 'read', (source) => {
    const { kind, size } = disk.statOpen(source);
    if (kind !== 'file') return;
    withOpen(disk, to, 'create', (target) => {
      // Not beyond the size it had: a file that grows without end must not be followed.
      for (let at = 0; at < size; ) {
        const count = disk.read(source, buffer, Math.min(buffer.length, size - at), at);
        if (count === 0) break;
        writeAll(disk, target, buffer.subarray(0, count), at);
        at += count;
      }
      disk.setMode(target, 0o644);
      disk.sync(target);
    });
  });
}

/**
 * Deletes a claim that is a copy, together with its record: the drop itself is still in the inbox.
 * @returns false when the claim is the drop itself
 */
export function returnCopy(disk: Disk, inbox: string, claim: Claim): boolean {
  const names = recordsOf(disk, inbox, claim);
  if (names.length === 0) return false;
  inOwn(disk, claimedDirectory(inbox), (own) => removeTree(disk, own.at(claimFile(claim))));
  forgetLeft(disk, inbox, names);
  return true;
}

function recordsOf(disk: Disk, inbox: string, { path, at }: Pick<Claim, 'path' | 'at'>): string[] {
  return [...readLeft(disk, inbox)]
    .filter(([, left]) => left.path === path && left.at === at)
    .map(([name]) => name);
}

/** Returns what is recorded if the claim is a copy; for a claim that was taken over. */
export function leftFields(
  disk: Disk,
  inbox: string,
  claim: Claim,
): Pick<Claim, 'left' | 'uid'> | undefined {
  const [name] = recordsOf(disk, inbox, claim);
  const left = name === undefined ? undefined : readLeft(disk, inbox).get(name);
  return left && { left: left.reason, uid: left.uid };
}

/**
 * Deletes what dead processes left while they copied: unfinished copies, and records without a claim, a
 * receipt or a rejected drop. Their drops are claimed again.
 */
export function recoverLeft(disk: Disk, inbox: string, dead: readonly string[]): void {
  const isDead = (owner: string | undefined) => owner !== undefined && dead.includes(owner);
  const entries = listOwn(disk, claimedDirectory(inbox));
  const copies = entries.filter(({ name }) => isDead(copyOwner(name)));
  if (copies.length > 0) {
    inOwn(disk, claimedDirectory(inbox), (own) => {
      for (const { name } of copies) removeTree(disk, own.at(name));
    });
  }
  const claims = entries.flatMap(({ name }) => parseClaim(name) ?? []);
  const lost = [...readLeft(disk, inbox)].filter(
    ([, left]) => isDead(left.owner) && !hasTrace(disk, inbox, left, claims),
  );
  const names = lost.map(([name]) => name);
  forgetLeft(disk, inbox, names);
}

function hasTrace(
  disk: Disk,
  inbox: string,
  { path, at }: LeftDrop,
  claims: readonly Claim[],
): boolean {
  if (claims.some((claim) => claim.path === path && claim.at === at)) return true;
  const name = { name: flatDropName(path), at };
  const isIn = (directory: string, file: string) =>
    inOwn(disk, directory, (own: Pick<OwnDirectory, 'at'>) => disk.statIfThere(own.at(file))) !==
    undefined;
  return (
    isIn(receiptsDirectory(inbox), receiptFile(name)) ||
    isIn(rejectedDirectory(inbox), rejectedFile(name))
  );
}
