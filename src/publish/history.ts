/**
 * One line per flip: which snapshot became current, when and why. Written after the flip, so a
 * crash may lose the last line; the next visit finds the pivot elsewhere and writes it.
 */
import type { Disk } from '../disk/disk.js';
import { readFile, replaceFile, withOpen, writeAll } from '../disk/durable.js';
import { DropdockError, hasErrno } from '../errors.js';
import type { RepositoryId } from '../image/names.js';
import type { SnapshotReason } from '../snapshot/snapshot-file.js';
import { isTimestamp, type Timestamp, toTimestamp } from '../snapshot/timestamp.js';
import { readPivot, readSnapshot } from './current.js';
import { historyPath, pivotPath, type TreeRoots } from './paths.js';

export interface FlipRecord extends Omit<SnapshotReason, 'why'> {
  readonly at: Timestamp;
  readonly snapshot: Timestamp;
  /** 'recovered': a crash kept the flip out of the history, and its snapshot cannot be read. */
  readonly why: SnapshotReason['why'] | 'recovered';
}

/** A longer file is cut to its newest lines; retention never looks further back. */
const BYTES_MAX = 256 * 1024;
const LINES_KEPT = 500;

/** Oldest first. Damaged lines are passed over. */
export function readHistory(disk: Disk, roots: TreeRoots, id: RepositoryId): FlipRecord[] {
  let text: string;
  try {
    text = readFile(disk, historyPath(roots, id), Number.MAX_SAFE_INTEGER).toString('utf8');
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return [];
    throw error;
  }
  return text.split('\n').flatMap((line) => parseRecord(line) ?? []);
}

export function recordFlip(
  disk: Disk,
  roots: TreeRoots,
  id: RepositoryId,
  record: FlipRecord,
): void {
  const path = historyPath(roots, id);
  const line = Buffer.from(`${JSON.stringify(record)}\n`);
  const size = disk.statIfThere(path)?.size;
  if (size === undefined || size > BYTES_MAX) {
    const kept = readHistory(disk, roots, id).slice(-LINES_KEPT);
    const text = [...kept, record].map((each) => `${JSON.stringify(each)}\n`).join('');
    replaceFile(disk, path, Buffer.from(text), `${path}.tmp`, 0o644);
    return;
  }
  withOpen(disk, path, 'update', (fd) => {
    // A line torn by a crash must not swallow this one.
    const torn = size > 0 && !endsWithNewline(disk, fd, size);
    writeAll(disk, fd, torn ? Buffer.concat([Buffer.from('\n'), line]) : line, size);
    disk.sync(fd);
  });
}

/** @returns true when the last flip was missing from the history and has been added */
export function mendHistory(disk: Disk, roots: TreeRoots, id: RepositoryId): boolean {
  const snapshot = readPivot(disk, roots, id);
  if (snapshot === null || readHistory(disk, roots, id).at(-1)?.snapshot === snapshot) return false;
  const at = toTimestamp(disk.stat(pivotPath(roots, id)).mtimeMs);
  recordFlip(disk, roots, id, { at, snapshot, ...reasonOf(disk, roots, id, snapshot) });
  return true;
}

/** A damaged snapshot is the business of `verify --repair`; it must not keep the next from coming. */
function reasonOf(
  disk: Disk,
  roots: TreeRoots,
  id: RepositoryId,
  snapshot: Timestamp,
): Pick<FlipRecord, 'why' | 'detail' | 'drops'> {
  try {
    return readSnapshot(disk, roots, id, snapshot).reason;
  } catch (error) {
    const isDamaged = error instanceof DropdockError && error.code === 'layout.unsafe';
    if (isDamaged || hasErrno(error, 'ENOENT')) return { why: 'recovered', drops: [] };
    throw error;
  }
}

function endsWithNewline(disk: Disk, fd: number, size: number): boolean {
  const last = Buffer.alloc(1);
  disk.read(fd, last, 1, size - 1);
  return last[0] === 0x0a;
}

function parseRecord(line: string): FlipRecord | undefined {
  try {
    const record = JSON.parse(line) as FlipRecord;
    return isTimestamp(record.at) && isTimestamp(record.snapshot) ? record : undefined;
  } catch {
    return undefined;
  }
}
