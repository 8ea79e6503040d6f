/**
 * Removes stale snapshots and unused content. Only exact names are touched, never the current
 * snapshot, and never a stranger; removal is one rename into trash/, deletion comes after.
 */
import { dirname, join } from 'node:path';
import type { Disk } from '../disk/disk.js';
import {
  ensureDirectory,
  forEach,
  listIfThere,
  removeIfThere,
  statIfThere,
  syncDirectory,
} from '../disk/durable.js';
import { removeTree } from '../disk/remove-tree.js';
import { hasErrno } from '../errors.js';
import type { RepositoryId } from '../image/names.js';
import { isTimestamp, type Timestamp } from '../snapshot/timestamp.js';
import { listSnapshots, readPivot, readSnapshot } from './current.js';
import { readHistory } from './history.js';
import {
  contentDirectory,
  isPreparedName,
  snapshotPath,
  type TreeRoots,
  transactionStart,
  trashDirectory,
  trashPath,
  workDirectory,
} from './paths.js';
import {
  currencyFacts,
  judgeSnapshots,
  type RetentionPolicy,
  type SnapshotVerdict,
} from './retention.js';

export interface CleanRequest extends RetentionPolicy {
  readonly roots: TreeRoots;
  readonly id: RepositoryId;
  /** See `RemovalRequest`. */
  readonly lockLost?: Int32Array;
}

export interface CleanPlan {
  readonly verdicts: readonly SnapshotVerdict[];
  /** Names in master/<id>/ that are no timestamps; they are left alone. */
  readonly strangers: readonly string[];
}

/** What would go and which rule keeps the rest. Reads only. */
export function planClean(disk: Disk, request: CleanRequest): CleanPlan {
  const { roots, id } = request;
  const names = listSnapshots(disk, roots, id);
  const snapshots = names.filter(isTimestamp);
  const current = readPivot(disk, roots, id);
  const history = readHistory(disk, roots, id);
  const facts = currencyFacts(
    snapshots,
    current,
    history,
    successors(
      disk,
      roots,
      id,
      snapshots,
      history.map(({ snapshot }) => snapshot),
    ),
  );
  return {
    verdicts: judgeSnapshots(facts, request),
    strangers: names.filter((name) => !isTimestamp(name)),
  };
}

/** For snapshots the history does not know (it may have been lost): what was built on them. */
function successors(
  disk: Disk,
  roots: TreeRoots,
  id: RepositoryId,
  snapshots: readonly Timestamp[],
  known: readonly Timestamp[],
): Map<Timestamp, Timestamp> {
  const found = new Map<Timestamp, Timestamp>();
  if (snapshots.every((name) => known.includes(name))) return found;
  for (const name of snapshots) {
    const { base } = readSnapshot(disk, roots, id, name);
    if (base !== null) found.set(base as Timestamp, name);
  }
  return found;
}

/**
 * Under the repository's lock: moves what is stale into the trash.
 * @returns the names that went
 */
export function cleanRepository(disk: Disk, request: CleanRequest): Timestamp[] {
  const { roots, id } = request;
  const gone: Timestamp[] = [];
  for (const { name, remove } of planClean(disk, request).verdicts) {
    // The pivot is asked again for each: it alone says what is current.
    if (!remove || readPivot(disk, roots, id) === name) continue;
    moveToTrash(disk, roots, snapshotPath(roots, id, name), `${id}@${name}`);
    gone.push(name);
  }
  return gone;
}

/** One rename; a crash leaves the whole thing or a piece of trash, never half a snapshot. */
export function moveToTrash(disk: Disk, roots: TreeRoots, path: string, name: string): void {
  ensureDirectory(disk, trashDirectory(roots));
  for (let attempt = 0; ; attempt++) {
    try {
      disk.rename(path, trashPath(roots, attempt === 0 ? name : `${name}.${attempt}`));
      // Deletion must not be on disk before the rename that makes this trash.
      syncDirectory(disk, dirname(path));
      return;
    } catch (error) {
      if (hasErrno(error, 'ENOENT')) return;
      if (!hasErrno(error, 'ENOTEMPTY', 'EEXIST', 'ENOTDIR', 'EISDIR') || attempt > 1000)
        throw error;
    }
  }
}

/** Deletes what lies in the trash; several may do so at once. @returns how many entries went */
export function emptyTrash(disk: Disk, { roots }: { readonly roots: TreeRoots }): number {
  const entries = listIfThere(disk, trashDirectory(roots));
  forEach(entries, ({ name }) => removeTree(disk, trashPath(roots, name)));
  return entries.length;
}

export interface SweepRequest {
  readonly roots: TreeRoots;
  readonly nowMs: number;
  readonly graceMs: number;
}

export interface SweepResult {
  readonly files: number;
  readonly bytes: number;
  /** How much is left in the store: known here at no cost, for every file was looked at. */
  readonly stays: { readonly files: number; readonly bytes: number };
}

/**
 * Removes content that no snapshot links and that nothing has touched for the grace period. The
 * change time tells: the filesystem sets it when the last link goes, and a publish that finds its
 * content here already renews it. What an unfinished publish may have brought is left alone.
 */
export function sweepContent(disk: Disk, request: SweepRequest, dryRun = false): SweepResult {
  const { roots, nowMs, graceMs } = request;
  const olderThanMs = Math.min(nowMs - graceMs, oldestTransactionMs(disk, roots));
  let files = 0;
  let bytes = 0;
  const stays = { files: 0, bytes: 0 };
  eachStored(disk, roots, (path) => {
    const stat = statIfThere(disk, path);
    if (stat?.kind !== 'file') return;
    if (stat.links !== 1 || stat.ctimeMs >= olderThanMs) {
      stays.files++;
      stays.bytes += stat.size;
      return;
    }
    if (!dryRun) removeIfThere(disk, path);
    files++;
    bytes += stat.size;
  });
  return { files, bytes, stays };
}

function oldestTransactionMs(disk: Disk, roots: TreeRoots): number {
  return listIfThere(disk, workDirectory(roots))
    .filter(({ name }) => !isPreparedName(name))
    .map(({ name }) => transactionStart(name))
    .reduce((least, each) => Math.min(least, each), Number.POSITIVE_INFINITY);
}

/** Calls `use` with every file of the content store. */
export function eachStored(disk: Disk, roots: TreeRoots, use: (path: string) => void): void {
  const root = contentDirectory(roots);
  for (const algorithm of listIfThere(disk, root)) {
    for (const prefix of listIfThere(disk, join(root, algorithm.name))) {
      const directory = join(root, algorithm.name, prefix.name);
      for (const { name } of listIfThere(disk, directory)) use(join(directory, name));
    }
  }
}
