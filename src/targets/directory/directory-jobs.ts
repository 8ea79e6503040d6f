/** What publishing asks of the worker threads. Each takes the disk and one value. */

import { type PlainError, toPlainError } from '../../errors.js';
import type { RepositoryId } from '../../image/names.js';
import type { Timestamp } from '../../repository/timestamp.js';
import type { Disk } from '../../storage/disk.js';
import { readBoards, removeBoards, writeBoard } from '../../storage/inbox-status-file.js';
import { ingestRequest } from '../../storage/into-store.js';
import { prepareTree } from '../../storage/prepare-tree.js';
import { checkSpace } from '../../storage/space.js';
import { begin, end, type Transaction, workOwners } from '../../storage/transaction.js';
import { emptyTrash, moveToTrash } from '../../storage/trash.js';
import { snapshotPath, type TreeRoots } from '../../storage/tree-paths.js';
import { browseJobs } from './browse.js';
import { buildSnapshot, checkDrop } from './build-snapshot.js';
import { type CleanRequest, cleanRepository, planClean } from './clean-snapshots.js';
import { takeCensus } from './count-repositories.js';
import { type FlipRequest, flip, placeAppLink } from './flip.js';
import { type FlipRecord, recordFlip } from './flip-history.js';
import { carriedBy } from './kept-for-grace.js';
import { repositoryContents, repositoryHistory, repositoryOverview } from './overview.js';
import { currentSnapshot, readPivot } from './pivot.js';
import { rememberElsewhere } from './published-elsewhere.js';
import { findBroken, listRepositories, mendRepository, trashAbandonedWork } from './recover.js';
import { finishRemoval, isOver } from './removal.js';
import { repairRepository } from './repair.js';
import { readLocalText, restage, restageNeeds } from './restage.js';
import { discardSpareTrees, makeSpareTree } from './spare-tree.js';
import { planSweep, sweep } from './sweep.js';
import { verifyContent, verifyLinks, verifyRepository, verifyTrash } from './verify-tree.js';

export interface Place {
  readonly roots: TreeRoots;
  readonly id: RepositoryId;
}

/** Step 12; what lies under work/ goes even when that fails. */
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
  checkSpace,
  buildSnapshot,
  checkDrop,
  currentSnapshot,
  rememberElsewhere,
  readPivot: (disk: Disk, { roots, id }: Place) => readPivot(disk, roots, id),
  mend: mendRepository,
  findBroken,
  makeSpareTree,
  discardSpareTrees,
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
  readLocalText,
  restageNeeds,
  restage,
  ...browseJobs,
  emptyTrash,
  census: takeCensus,
  sweep,
  planSweep,
} as const;

export type PublishJobs = typeof publishJobs;
