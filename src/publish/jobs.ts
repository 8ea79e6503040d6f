/** What publishing asks of the worker threads. Each takes the disk and one value. */
import type { Disk } from '../disk/disk.js';
import { ensureDirectory } from '../disk/durable.js';
import { ingestRequest } from '../disk/into-store.js';
import { syncFile } from '../disk/left-sync.js';
import { checkSpace } from '../disk/space.js';
import { hasErrno, type PlainError, toPlainError } from '../errors.js';
import type { RepositoryId } from '../image/names.js';
import type { Origin } from '../snapshot/state.js';
import type { Timestamp } from '../snapshot/timestamp.js';
import { readBoards, removeBoards, writeBoard } from './boards.js';
import { browseJobs } from './browse.js';
import { buildSnapshot, checkMerge } from './build.js';
import { buildEdit } from './build-edit.js';
import { carriedBy } from './carried.js';
import { takeCensus } from './census.js';
import { type CleanRequest, cleanRepository, emptyTrash, moveToTrash, planClean } from './clean.js';
import { readPivot } from './current.js';
import { rememberElsewhere } from './elsewhere.js';
import { type FlipRequest, flip, placeAppLink } from './flip.js';
import { type FlipRecord, recordFlip } from './history.js';
import {
  findBroken,
  listRepositories,
  type MendRequest,
  mendRepository,
  trashAbandonedWork,
} from './mend.js';
import { repositoryContents, repositoryHistory, repositoryOverview } from './overview.js';
import { snapshotPath, type TreeRoots, workPath } from './paths.js';
import { prepareTree } from './prepare.js';
import { prepareNext } from './prepare-next.js';
import { discardPrepared } from './prepared-tree.js';
import { findPublished, type PublishedBefore } from './published-before.js';
import { finishRemoval, isOver } from './removal.js';
import { repairRepository } from './repair.js';
import { planSweep, sweep } from './sweep.js';
import { verifyContent, verifyLinks, verifyRepository, verifyTrash } from './verify.js';
import { workOwners } from './work-owners.js';

export interface Place {
  readonly roots: TreeRoots;
  readonly id: RepositoryId;
}

export interface Transaction {
  readonly roots: TreeRoots;
  readonly transaction: string;
}

/**
 * Its name is synced although nobody looks for it after a crash: a tree is built below it and renamed
 * out of it, and btrfs (Linux 6.18) cannot replay its log where it knows the one and not the other: a
 * power cut then leaves what cannot be mounted (test/crash/power-cut, 6 of 12 seeds).
 */
export function begin(disk: Disk, { roots, transaction }: Transaction): void {
  ensureDirectory(disk, workPath(roots, transaction));
}

export interface OpenRequest extends MendRequest, Transaction {
  /** Drops that may have been published by an earlier try. */
  readonly drops: readonly Origin[];
}

export interface Opened {
  readonly mended: readonly string[];
  /** What the pivot names now. */
  readonly base: Timestamp | null;
  /** In the order of the drops. */
  readonly before: readonly (PublishedBefore | null)[];
}

/** Step 3 and what comes before it, in one go: mends, makes room under work/, reads the pivot. */
export function openTurn(disk: Disk, request: OpenRequest): Opened {
  const { roots, id } = request;
  // First, so that what it names is in the history before anything is built on it: another host that
  // was taken for dead may flip between two of these steps.
  const base = readPivot(disk, roots, id);
  const mended = mendRepository(disk, request);
  begin(disk, request);
  return { mended, base, before: findPublished(disk, request) };
}

export function end(disk: Disk, { roots, transaction }: Transaction): void {
  const path = workPath(roots, transaction);
  try {
    disk.removeDirectory(path);
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return;
    if (!hasErrno(error, 'ENOTEMPTY', 'EEXIST')) throw error;
    moveToTrash(disk, roots, path, `work@${transaction}`);
  }
}

/** Step 13; what lies under work/ goes even when that fails. */
function cleanAndEnd(disk: Disk, request: CleanRequest & Transaction): Timestamp[] {
  try {
    return clean(disk, request);
  } finally {
    end(disk, request);
  }
}

function clean(disk: Disk, request: CleanRequest): Timestamp[] {
  return finishRemoval(disk, request) ? [] : cleanRepository(disk, request);
}

/** Takes back a snapshot that was not flipped to. */
function withdraw(disk: Disk, request: Place & { readonly snapshot: Timestamp }): void {
  const { roots, id, snapshot } = request;
  if (readPivot(disk, roots, id) === snapshot) return;
  moveToTrash(disk, roots, snapshotPath(roots, id, snapshot), `${id}@${snapshot}`);
}

/** @returns what went wrong after the flip */
function flipJob(disk: Disk, request: FlipRequest): PlainError[] {
  return flip(disk, request).map(toPlainError);
}

/** Step 11 and the record of the flip. @returns what went wrong; the next visit does it */
function afterFlip(
  disk: Disk,
  request: Place & { readonly owner: string; readonly record: FlipRecord },
): PlainError[] {
  const { roots, id, owner, record } = request;
  const errors = placeAppLink(disk, roots, id, owner);
  try {
    // Whoever has moved it since, while we slept, has recorded this flip before.
    if (readPivot(disk, roots, id) === record.snapshot) recordFlip(disk, roots, id, record);
  } catch (error) {
    errors.push(error);
  }
  return errors.map(toPlainError);
}

export const publishJobs = {
  prepareTree,
  begin,
  end,
  withdraw,
  afterFlip,
  flip: flipJob,
  ingest: ingestRequest,
  syncFile,
  checkSpace,
  build: buildSnapshot,
  checkMerge,
  buildEdit,
  openTurn,
  rememberElsewhere,
  readPivot: (disk: Disk, { roots, id }: Place) => readPivot(disk, roots, id),
  mend: mendRepository,
  findBroken,
  prepareNext,
  discardPrepared,
  listRepositories,
  workOwners,
  trashAbandonedWork,
  clean,
  cleanAndEnd,
  planClean: (disk: Disk, request: CleanRequest) => ({
    ...planClean(disk, request),
    /** It was removed, and its time is over. */
    isOver: isOver(disk, request),
  }),
  carriedBy,
  verifyRepository,
  verifyLinks,
  repairRepository,
  verifyContent,
  verifyTrash,
  repositoryOverview,
  repositoryContents,
  writeBoard,
  readBoards,
  removeBoards,
  repositoryHistory,
  ...browseJobs,
  emptyTrash,
  census: takeCensus,
  sweep,
  planSweep,
} as const;

export type PublishJobs = typeof publishJobs;
