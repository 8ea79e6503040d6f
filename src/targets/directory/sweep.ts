/**
 * Removes content that no snapshot links any more. A publish that is under way may have found its
 * content here and be about to link it. It renews the change time of what it wants (`markUsed`), which
 * says that it was touched and not when: the clock that dates files may be set. So there are two ways:
 *
 * - What only the snapshots in the trash held, whose own grace period is over, goes at once where no
 *   publish is under way.
 * - Anything else goes when an earlier sweep has seen it unused, as it is now, the grace period ago or
 *   longer, and no publish is under way that was when it was first seen: later ones would have touched it.
 */
import { randomBytes } from 'node:crypto';
import { basename, dirname, join } from 'node:path';
import { faultOf, hasErrno } from '../../errors.js';
import { isDigest } from '../../image/digest.js';
import { MANIFEST_BYTES_MAX } from '../../image/limits.js';
import type { RepositoryId } from '../../image/names.js';
import { referredBlobs } from '../../image/references.js';
import {
  addSighting,
  ageIn,
  type ClockReading,
  parseSighting,
  type Sighting,
  sight,
} from '../../repository/elapsed.js';
import type { Timestamp } from '../../repository/timestamp.js';
import type { Disk } from '../../storage/disk.js';
import { listIfThere, readFile, removeIfThere, replaceFile } from '../../storage/durable.js';
import { job } from '../../storage/job.js';
import { emptyTrash } from '../../storage/trash.js';
import {
  contentDirectory,
  contentPath,
  isSpareName,
  masterDirectory,
  snapshotPath,
  type TreeRoots,
  trashDirectory,
  trashPath,
  unusedPath,
  workDirectory,
  workPath,
} from '../../storage/tree-paths.js';
import { leavesNextTime } from './kept-for-grace.js';

export interface SweepRequest {
  readonly roots: TreeRoots;
  /** The wall clock: what was touched lately by it stays, whatever else is known. */
  readonly nowMs: number;
  /** What ages are judged by. */
  readonly clock: ClockReading;
  readonly graceMs: number;
}

export interface SweepResult {
  readonly files: number;
  readonly bytes: number;
  /** How much is left in the store: known here at no cost, for every file was looked at. */
  readonly stays: { readonly files: number; readonly bytes: number };
}

interface Unused {
  readonly path: string;
  readonly size: number;
  readonly ctimeMs: number;
}

/** Empties the trash, and removes what only that had held, and whatever else nothing uses. */
export const sweep = job(
  'background',
  import.meta.url,
  function sweep(disk: Disk, request: SweepRequest): SweepResult {
    const { roots, clock } = request;
    const sightings = readSightings(disk, roots);
    const held = heldBy(disk, roots, trashed(disk, roots));
    const before = changeTimes(disk, held.keys());
    emptyTrash(disk, { roots });
    const after = changeTimes(disk, before.keys());
    const found = findUnused(disk, request, sightings, {
      linksGone: () => 0,
      going: [],
      // That our own unlinking renewed it says nothing. What was touched after that, counts.
      heldSinceMs: (path, ctimeMs) => (after.get(path) === ctimeMs ? before.get(path) : undefined),
    });
    const { stays, underWay } = found;
    const left = [...found.left];
    let files = 0;
    let bytes = 0;
    for (const unused of found.unused) {
      const now = disk.statIfThere(unused.path);
      if (now?.links === 1 && now.ctimeMs === unused.ctimeMs) {
        removeIfThere(disk, unused.path);
        files++;
        bytes += unused.size;
      } else if (now) {
        left.push({ ...unused, ctimeMs: now.ctimeMs });
        stays.files++;
        stays.bytes += unused.size;
      }
    }
    // Listed once more: what began while we looked may have touched what we saw before we saw it.
    const keys = [...underWay, ...transactions(disk, roots)].map(underWayKey);
    const seen = left.length > 0 ? [...left.map(unusedKey), ...keys] : [];
    writeSightings(disk, roots, addSighting(sightings, sight(sightings, new Set(seen), clock)));
    return { files, bytes, stays };
  },
);

export interface PlanSweepRequest extends SweepRequest {
  /** Paths of snapshots that would go before. */
  readonly going: readonly string[];
  /** Current snapshots that would be made anew and go, too: there is no grace period. */
  readonly renewing: readonly { readonly id: RepositoryId; readonly snapshot: Timestamp }[];
}

/** What `sweep` would remove once these snapshots are in the trash. Reads only. */
export const planSweep = job(
  'background',
  import.meta.url,
  function planSweep(disk: Disk, request: PlanSweepRequest): SweepResult {
    const { roots, going, renewing } = request;
    const held = heldBy(disk, roots, [...trashed(disk, roots), ...spares(disk, roots), ...going]);
    for (const place of renewing) {
      const expiredMs = Number.POSITIVE_INFINITY;
      const leaves = leavesNextTime(disk, { roots, ...place, expiredMs });
      eachHeld(disk, snapshotPath(roots, place.id, place.snapshot), (name) => {
        if (!isDigest(name) || !leaves.has(name)) return;
        const path = contentPath(roots, name);
        held.set(path, (held.get(path) ?? 0) + 1);
      });
    }
    const { unused, stays } = findUnused(disk, request, readSightings(disk, roots), {
      linksGone: (path) => held.get(path) ?? 0,
      going: [...going, ...renewing.map(({ id, snapshot }) => snapshotPath(roots, id, snapshot))],
      heldSinceMs: (path, ctimeMs) => (held.has(path) ? ctimeMs : undefined),
    });
    return { files: unused.length, bytes: unused.reduce((sum, { size }) => sum + size, 0), stays };
  },
);

interface Judging {
  /** How many names of a stored file go away besides. */
  readonly linksGone: (path: string) => number;
  /** Snapshots that go away besides. */
  readonly going: readonly string[];
  /** When what only the trash held was last touched by anything but the cleaning; undefined for others. */
  readonly heldSinceMs: (path: string, ctimeMs: number) => number | undefined;
}

interface Found {
  readonly unused: readonly Unused[];
  /** Nothing links it, and it is not time yet. */
  readonly left: readonly Unused[];
  /** Publishes. */
  readonly underWay: readonly string[];
  readonly stays: { files: number; bytes: number };
}

function findUnused(
  disk: Disk,
  { roots, nowMs, clock, graceMs }: SweepRequest,
  sightings: readonly Sighting[],
  { linksGone, going, heldSinceMs }: Judging,
): Found {
  const underWay = transactions(disk, roots);
  const publishAges = underWay.map((name) => ageIn(sightings, underWayKey(name), clock) ?? 0);
  const longestMs = Math.max(-1, ...publishAges);
  const found = new Map<string, Unused>();
  const left: Unused[] = [];
  const stays = { files: 0, bytes: 0 };
  eachStored(disk, roots, (path) => {
    const stat = disk.statIfThere(path);
    if (stat?.kind !== 'file') return;
    const { size, ctimeMs, links } = stat;
    const file = { path, size, ctimeMs };
    const isUnlinked = links - linksGone(path) <= 1;
    if (isUnlinked && isExpired(file)) {
      found.set(nameOf(path), file);
      return;
    }
    if (isUnlinked) left.push(file);
    stays.files++;
    stays.bytes += size;
  });
  const needed = [
    ...takeServed(disk, roots, found, going),
    ...takeReferred(disk, roots, found, going),
  ];
  for (const { size } of needed) {
    stays.files++;
    stays.bytes += size;
  }
  return { unused: [...found.values()], left, underWay, stays };

  function isExpired(file: Unused): boolean {
    const ageMs = ageIn(sightings, unusedKey(file), clock);
    if (ageMs !== undefined && ageMs >= graceMs && ageMs > longestMs) return true;
    const heldMs = heldSinceMs(file.path, file.ctimeMs);
    const touchedMs = graceMs <= 0 ? (heldMs ?? file.ctimeMs) : heldMs;
    return underWay.length === 0 && touchedMs !== undefined && touchedMs < nowMs - graceMs;
  }
}

/**
 * Takes out what a snapshot that stays has under the same name. After a copy without hard links that is
 * another file than the store's, which has one link and is what the next publish builds on all the
 * same, until `verify --repair` links them again. Reads all names there are, but only when something
 * seems unused.
 */
function takeServed(
  disk: Disk,
  roots: TreeRoots,
  found: Map<string, Unused>,
  going: readonly string[],
): Unused[] {
  const served: Unused[] = [];
  for (const snapshot of found.size === 0 ? [] : staying(disk, roots, going)) {
    eachHeld(disk, snapshot, (digest) => take(found, digest, served));
  }
  return served;
}

/**
 * Takes out what the bytes of a manifest name that a snapshot keeps, also where the snapshot does not
 * have it: what was written down of a manifest may be wrong (an older version believed whatever announced
 * it), and what is deleted cannot be had again. Reads each manifest once, when something still seems
 * unused: 20 microseconds each.
 */
function takeReferred(
  disk: Disk,
  roots: TreeRoots,
  found: Map<string, Unused>,
  going: readonly string[],
): Unused[] {
  const referred: Unused[] = [];
  const seen = new Set<string>();
  for (const snapshot of found.size === 0 ? [] : staying(disk, roots, going)) {
    for (const { name: kind } of listIfThere(disk, join(snapshot, 'manifests'))) {
      const directory = join(snapshot, 'manifests', kind);
      for (const { name } of listIfThere(disk, directory)) {
        // What a tag names lies beside it under its digest.
        if (!isDigest(name) || seen.has(name)) continue;
        seen.add(name);
        const bytes = readManifest(disk, join(directory, name));
        for (const digest of bytes ? referredBlobs(bytes, found) : []) {
          take(found, digest, referred);
        }
      }
    }
  }
  return referred;
}

/** Undefined for one that is gone by now, or is no manifest. */
function readManifest(disk: Disk, path: string): Buffer | undefined {
  try {
    return readFile(disk, path, MANIFEST_BYTES_MAX);
  } catch (error) {
    if (hasErrno(error, 'ENOENT') || faultOf(error) === 'content') return undefined;
    throw error;
  }
}

function take(found: Map<string, Unused>, digest: string, into: Unused[]): void {
  const unused = found.get(digest);
  if (unused) into.push(unused);
  found.delete(digest);
}

/** The snapshots that are there and not going away. */
function staying(disk: Disk, roots: TreeRoots, going: readonly string[]): string[] {
  const master = masterDirectory(roots);
  const ids = listIfThere(disk, master).filter(({ kind }) => kind === 'directory');
  return ids.flatMap(({ name: id }) =>
    listIfThere(disk, join(master, id))
      .filter(({ kind }) => kind === 'directory')
      .map(({ name }) => join(master, id, name))
      .filter((snapshot) => !going.includes(snapshot)),
  );
}

/** The digest that a path of the store stands for. */
function nameOf(path: string): string {
  return `${basename(dirname(dirname(path)))}:${basename(path)}`;
}

/** Names of the publishes that are under way. */
function transactions(disk: Disk, roots: TreeRoots): string[] {
  return listIfThere(disk, workDirectory(roots))
    .map(({ name }) => name)
    .filter((name) => !isSpareName(name));
}

/** How a sighting names unused content: touched, it is something else. */
function unusedKey({ path, ctimeMs }: Unused): string {
  return `${nameOf(path)}/${ctimeMs}`;
}

function underWayKey(transaction: string): string {
  return `work/${transaction}`;
}

/** What was seen unused, and how long ago. A damaged file only makes content stay longer. */
function readSightings(disk: Disk, roots: TreeRoots): Sighting[] {
  try {
    const text = readFile(disk, unusedPath(roots), Number.MAX_SAFE_INTEGER).toString('utf8');
    const values: unknown = JSON.parse(text);
    return Array.isArray(values) ? values.flatMap((value) => parseSighting(value) ?? []) : [];
  } catch (error) {
    if (error instanceof SyntaxError || hasErrno(error, 'ENOENT')) return [];
    throw error;
  }
}

function writeSightings(disk: Disk, roots: TreeRoots, sightings: readonly Sighting[]): void {
  const path = unusedPath(roots);
  const isEmpty = Object.keys(sightings.at(-1)?.ages ?? {}).length === 0;
  if (isEmpty) removeIfThere(disk, path);
  else {
    const temporary = `${path}.${randomBytes(6).toString('hex')}`;
    replaceFile(disk, path, Buffer.from(JSON.stringify(sightings)), temporary, 0o644);
  }
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

function trashed(disk: Disk, roots: TreeRoots): string[] {
  return listIfThere(disk, trashDirectory(roots))
    .filter(({ kind }) => kind === 'directory')
    .map(({ name }) => trashPath(roots, name));
}

/** Spare trees are discarded by a cleaning. */
function spares(disk: Disk, roots: TreeRoots): string[] {
  return listIfThere(disk, workDirectory(roots))
    .filter(({ name }) => isSpareName(name))
    .flatMap(({ name }) =>
      listIfThere(disk, workPath(roots, name)).map((tree) =>
        join(workPath(roots, name), tree.name),
      ),
    );
}

/** How many names each file of the store has in these snapshots, by its path in the store. */
function heldBy(disk: Disk, roots: TreeRoots, snapshots: readonly string[]): Map<string, number> {
  const held = new Map<string, number>();
  for (const snapshot of snapshots) {
    eachHeld(disk, snapshot, (name) => {
      if (!isDigest(name)) return;
      const path = contentPath(roots, name);
      held.set(path, (held.get(path) ?? 0) + 1);
    });
  }
  return held;
}

/** Calls `use` with every name that a blob, a manifest or a tag has in a snapshot; nothing is opened. */
function eachHeld(disk: Disk, snapshot: string, use: (name: string) => void): void {
  const manifests = join(snapshot, 'manifests');
  const kinds = listIfThere(disk, manifests).filter(({ kind }) => kind === 'directory');
  const directories = kinds.map(({ name }) => join(manifests, name));
  for (const directory of [join(snapshot, 'blobs'), ...directories]) {
    for (const { name } of listIfThere(disk, directory)) use(name);
  }
}

function changeTimes(disk: Disk, paths: Iterable<string>): Map<string, number> {
  const times = new Map<string, number>();
  for (const path of paths) {
    const stat = disk.statIfThere(path);
    if (stat) times.set(path, stat.ctimeMs);
  }
  return times;
}
