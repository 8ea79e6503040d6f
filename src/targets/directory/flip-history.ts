/**
 * The history of a repository, one line per flip: snapshot, time and reason. The line is written after the
 * flip, so a crash may lose the last one; the next publish or clean sees the moved pivot and adds it. Other
 * lines record how long ago flips were (`noteAges`), which a wall clock cannot tell.
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
import { changedTags, type FlipDetails } from '../../repository/flip-details.js';
import { tagMoves } from '../../repository/merge.js';
import type { SnapshotReason } from '../../repository/snapshot-file.js';
import type { RepositoryState } from '../../repository/state.js';
import { isTimestamp, type Timestamp, toTimestamp } from '../../repository/timestamp.js';
import type { Disk } from '../../storage/disk.js';
import { readFile, replaceFile, withOpen, writeAll } from '../../storage/durable.js';
import { historyPath, pivotPath, type TreeRoots } from '../../storage/tree-paths.js';
import { readPivot, readSnapshot } from './pivot.js';

export interface FlipRecord extends Omit<SnapshotReason, 'why'>, FlipDetails {
  readonly at: Timestamp;
  readonly snapshot: Timestamp;
  /** 'recovered': a crash lost the history line, and the snapshot cannot be read. */
  readonly why: SnapshotReason['why'] | 'recovered';
  /** Monotonic clock, read after the flip. Absent for recovered lines. */
  readonly clock?: ClockReading;
}

/** A longer file is cut to about half of this, so that it is rewritten rarely. */
const BYTES_MAX = 256 * 1024;
const LINES_KEPT = 500;
/** The newest lines are kept unchanged up to this size. Older lines lose their drops and tags. */
const WHOLE_BYTES_MAX = BYTES_MAX / 4;
const BARE_BYTES_MAX = BYTES_MAX / 4;
/** Never shortened: the next publish or clean needs them to write missing receipts. */
const WHOLE_LINES = 4;

/** The content of a history file. */
export interface History {
  /** Oldest first. */
  readonly flips: readonly FlipRecord[];
  /** Ages recorded by cleanings, the last of each clock. See `noteAges`. */
  readonly sightings: readonly Sighting[];
}

/** Oldest first. Skips damaged lines. */
export function readHistory(disk: Disk, roots: TreeRoots, id: RepositoryId): FlipRecord[] {
  return [...readFullHistory(disk, roots, id).flips];
}

/** Skips damaged lines. */
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

/** Runs under the repository's lock, after the flip. */
export function recordFlip(
  disk: Disk,
  roots: TreeRoots,
  id: RepositoryId,
  record: FlipRecord,
): void {
  append(disk, roots, id, record);
}

/**
 * Records how long ago flips were, for processes that cannot compare the clock readings: on another host, or
 * on this one after a reboot. Runs under the repository's lock.
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
    // Appends a newline first when a crash left an incomplete line.
    const torn = size > 0 && !endsWithNewline(disk, fd, size);
    writeAll(disk, fd, torn ? Buffer.concat([Buffer.from('\n'), line]) : line, size);
    disk.sync(fd);
  });
}

/** Returns the shortened text of a long history. */
function shorten({ flips, sightings }: History): string {
  const kept: string[] = [];
  let whole = 0;
  let bare = 0;
  for (const flip of [...flips].reverse().slice(0, LINES_KEPT)) {
    const line = toLine(flip);
    const isWhole = kept.length < WHOLE_LINES || whole + line.length <= WHOLE_BYTES_MAX;
    // From the first shortened line on, all older ones are shortened.
    if (isWhole && bare === 0) {
      whole += line.length;
      kept.push(line);
    } else {
      const { tags: _tags, ...rest } = flip;
      const short = toLine({ ...rest, drops: [] });
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

/** @returns true when the last flip was missing from the history and was added */
export function repairHistory(disk: Disk, roots: TreeRoots, id: RepositoryId): boolean {
  const snapshot = readPivot(disk, roots, id);
  if (snapshot === null || readHistory(disk, roots, id).at(-1)?.snapshot === snapshot) return false;
  const at = toTimestamp(disk.stat(pivotPath(roots, id)).mtimeMs);
  recordFlip(disk, roots, id, { at, snapshot, ...describeFlip(disk, roots, id, snapshot) });
  return true;
}

/** A damaged snapshot is repaired by `verify --repair`; it must not block the next publish. */
function describeFlip(
  disk: Disk,
  roots: TreeRoots,
  id: RepositoryId,
  snapshot: Timestamp,
): Pick<FlipRecord, 'why' | 'detail' | 'drops' | 'tags'> {
  try {
    const { reason, base, state } = readSnapshot(disk, roots, id, snapshot);
    const before = base === null ? NO_TAGS : tagsIfKept(disk, roots, id, base as Timestamp);
    // Its user is not known any more: the snapshot does not name users.
    return { ...reason, ...(before && { tags: changedTags(tagMoves(before, state.tags)) }) };
  } catch (error) {
    if (isUnreadable(error)) return { why: 'recovered', drops: [] };
    throw error;
  }
}

const NO_TAGS: RepositoryState['tags'] = new Map();

/** Returns undefined when the snapshot is gone or damaged. */
function tagsIfKept(
  disk: Disk,
  roots: TreeRoots,
  id: RepositoryId,
  snapshot: Timestamp,
): RepositoryState['tags'] | undefined {
  try {
    return readSnapshot(disk, roots, id, snapshot).state.tags;
  } catch (error) {
    if (isUnreadable(error)) return undefined;
    throw error;
  }
}

function isUnreadable(error: unknown): boolean {
  const isDamaged = error instanceof DropdockError && error.code === 'layout.unsafe';
  return isDamaged || hasErrno(error, 'ENOENT');
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
