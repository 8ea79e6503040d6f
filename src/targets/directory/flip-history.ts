/**
 * One line per flip: which snapshot became current, when and why. Written after the flip, so a
 * crash may lose the last line; the next visit finds the pivot elsewhere and writes it. Other lines
 * say how long ago flips were (`noteAges`): a wall clock does not.
 */

import { DropdockError, hasErrno } from '../../errors.js';
import type { RepositoryId } from '../../image/names.js';
import {
  addSighting,
  type ClockReading,
  parseReading,
  parseSighting,
  type Sighting,
} from '../../repository/elapsed.js';
import type { SnapshotReason } from '../../repository/snapshot-file.js';
import { isTimestamp, type Timestamp, toTimestamp } from '../../repository/timestamp.js';
import type { Disk } from '../../storage/disk.js';
import { readFile, replaceFile, withOpen, writeAll } from '../../storage/durable.js';
import { historyPath, pivotPath, type TreeRoots } from '../../storage/tree-paths.js';
import { readPivot, readSnapshot } from './pivot.js';

export interface FlipRecord extends Omit<SnapshotReason, 'why'> {
  readonly at: Timestamp;
  readonly snapshot: Timestamp;
  /** 'recovered': a crash kept the flip out of the history, and its snapshot cannot be read. */
  readonly why: SnapshotReason['why'] | 'recovered';
  /** A clock that is never set, read after the flip; not there where nobody saw the flip. */
  readonly clock?: ClockReading;
}

/** A longer file is cut to about half of this, so that it is rewritten once in many flips. */
const BYTES_MAX = 256 * 1024;
const LINES_KEPT = 500;
/** The newest lines stay as they are up to so much; older ones stay without the names of their drops. */
const WHOLE_BYTES_MAX = BYTES_MAX / 4;
const BARE_BYTES_MAX = BYTES_MAX / 4;
/** However long they are: a receipt that was not written is written by the next visit. */
const WHOLE_LINES = 4;

/** All that the file of a repository's history says. */
export interface History {
  /** Oldest first. */
  readonly flips: readonly FlipRecord[];
  /** What cleanings knew of how long ago these were, the last of each clock; see `noteAges`. */
  readonly sightings: readonly Sighting[];
}

/** Oldest first. Damaged lines are passed over. */
export function readHistory(disk: Disk, roots: TreeRoots, id: RepositoryId): FlipRecord[] {
  return [...readFullHistory(disk, roots, id).flips];
}

/** Damaged lines are passed over. */
export function readFullHistory(disk: Disk, roots: TreeRoots, id: RepositoryId): History {
  const flips: FlipRecord[] = [];
  let sightings: Sighting[] = [];
  for (const line of readLines(disk, historyPath(roots, id))) {
    const value = parseLine(line);
    const flip = parseRecord(value);
    const sighting = parseSighting(value);
    if (flip) flips.push(flip);
    else if (sighting) sightings = addSighting(sightings, sighting);
  }
  return { flips, sightings };
}

function readLines(disk: Disk, path: string): string[] {
  try {
    return readFile(disk, path, Number.MAX_SAFE_INTEGER).toString('utf8').split('\n');
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return [];
    throw error;
  }
}

/** Under the repository's lock, after the flip. */
export function recordFlip(
  disk: Disk,
  roots: TreeRoots,
  id: RepositoryId,
  record: FlipRecord,
): void {
  append(disk, roots, id, record);
}

/**
 * Under the repository's lock: writes down how long ago flips were, for whoever cannot tell from the
 * clock of the flip itself: another host, or this one after its next start.
 */
export function noteAges(disk: Disk, roots: TreeRoots, id: RepositoryId, sighting: Sighting): void {
  append(disk, roots, id, sighting);
}

function append(
  disk: Disk,
  roots: TreeRoots,
  id: RepositoryId,
  entry: FlipRecord | Sighting,
): void {
  const path = historyPath(roots, id);
  const line = Buffer.from(toLine(entry));
  const size = disk.statIfThere(path)?.size;
  if (size === undefined || size > BYTES_MAX) {
    const text = shorten(readFullHistory(disk, roots, id)) + toLine(entry);
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

/** What is kept of a file that has grown long. */
function shorten({ flips, sightings }: History): string {
  const kept: string[] = [];
  let whole = 0;
  let bare = 0;
  for (const flip of [...flips].reverse().slice(0, LINES_KEPT)) {
    const line = toLine(flip);
    const isWhole = kept.length < WHOLE_LINES || whole + line.length <= WHOLE_BYTES_MAX;
    // Once the names of drops are left out, they are from there on.
    if (isWhole && bare === 0) {
      whole += line.length;
      kept.push(line);
    } else {
      const short = toLine({ ...flip, drops: [] });
      bare += short.length;
      if (bare > BARE_BYTES_MAX) break;
      kept.push(short);
    }
  }
  return [...kept.reverse(), ...sightings.map(toLine)].join('');
}

function toLine(entry: FlipRecord | Sighting): string {
  return `${JSON.stringify(entry)}\n`;
}

/** @returns true when the last flip was missing from the history and has been added */
export function repairHistory(disk: Disk, roots: TreeRoots, id: RepositoryId): boolean {
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

function parseLine(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

function parseRecord(value: unknown): FlipRecord | undefined {
  const { clock, ...record } = (value ?? {}) as FlipRecord & { clock?: unknown };
  if (!isTimestamp(String(record.at)) || !isTimestamp(String(record.snapshot))) return undefined;
  const reading = parseReading(clock);
  return reading ? { ...record, clock: reading } : record;
}
