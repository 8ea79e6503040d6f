/**
 * Deletes content that no snapshot links. A running publish may have found its content in the store and be
 * about to link it. It updates the change time of that content (`markUsed`). The change time shows that a
 * file was touched, not when: the wall clock may be set. So content is deleted in two cases:
 *
 * - Content that only snapshots in the trash linked, whose own grace period is over: at once, when no publish
 *   is
 *   running.
 * - Other content: when an earlier sweep saw it unused and unchanged at least the grace period ago, and no
 *   publish of
 *   that time is still running. Later publishes would have touched it.
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
  /** Wall clock. Content touched recently by this clock is always kept. */
  readonly nowMs: number;
  /** Clock for measuring ages. */
  readonly clock: ClockReading;
  readonly graceMs: number;
}

export interface SweepResult {
  readonly files: number;
  readonly bytes: number;
  /** What remains in the store. The sweep visits every file, so this costs nothing. */
  readonly stays: { readonly files: number; readonly bytes: number };
}

interface Unused {
  readonly path: string;
  readonly size: number;
  readonly ctimeMs: number;
}

/** Empties the trash, then deletes the content that only the trash held and all other unused content. */
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
      // Deleting the links updated the change time; that is ignored. A later change counts.
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
    // Listed again: a publish that started meanwhile may have touched a file before it was seen here.
    const keys = [...underWay, ...transactions(disk, roots)].map(underWayKey);
    const seen = left.length > 0 ? [...left.map(unusedKey), ...keys] : [];
    writeSightings(disk, roots, addSighting(sightings, sight(sightings, new Set(seen), clock)));
    return { files, bytes, stays };
  },
);

export interface PlanSweepRequest extends SweepRequest {
  /** Paths of snapshots that would be removed first. */
  readonly going: readonly string[];
  /** Current snapshots that would be rebuilt and removed, because there is no grace period. */
  readonly renewing: readonly { readonly id: RepositoryId; readonly snapshot: Timestamp }[];
}

/** Returns what `sweep` would delete once these snapshots are in the trash. Read-only. */
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
  /** Number of links of a stored file that would also go. */
  readonly linksGone: (path: string) => number;
  /** Snapshots that would also go. */
  readonly going: readonly string[];
  /**
   * When content that only the trash held was last touched, other than by the cleaning; undefined for other
   * content.
   */
  readonly heldSinceMs: (path: string, ctimeMs: number) => number | undefined;
}

interface Found {
  readonly unused: readonly Unused[];
  /** Unused content whose time is not over. */
  readonly left: readonly Unused[];
  /** Ids of running publishes. */
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
 * Removes from the list what a kept snapshot has under the same name. After a copy without hard links, the
 * file in the store is a separate one with one link, and the next publish uses it, until `verify --repair`
 * links them again. Reads all names, but only when something seems unused.
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
 * Removes from the list what the bytes of a kept manifest name, even if the snapshot does not have it: the
 * record of a manifest may be wrong (an older version trusted the announced type), and deleted content cannot
 * be restored. Reads each manifest once (20 microseconds each), and only when something still seems unused.
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
        // The manifest of a tag is also there under its digest.
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

/** Returns undefined when the file is gone or is not a manifest. */
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

/** Returns the snapshots that exist and are kept. */
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

/** Returns the digest of a path in the store. */
function nameOf(path: string): string {
  return `${basename(dirname(dirname(path)))}:${basename(path)}`;
}

/** Returns the names of running publishes. */
function transactions(disk: Disk, roots: TreeRoots): string[] {
  return listIfThere(disk, workDirectory(roots))
    .map(({ name }) => name)
    .filter((name) => !isSpareName(name));
}

/** Key of unused content. It includes the change time, so touched content gets another key. */
function unusedKey({ path, ctimeMs }: Unused): string {
  return `${nameOf(path)}/${ctimeMs}`;
}

function underWayKey(transaction: string): string {
  return `work/${transaction}`;
}

/** Returns what was seen unused, and how long ago. Ignores a damaged file; content is then kept longer. */
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

/** Calls `use` for every file of the content store. */
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

/** A cleaning discards spare trees first. */
function spares(disk: Disk, roots: TreeRoots): string[] {
  return listIfThere(disk, workDirectory(roots))
    .filter(({ name }) => isSpareName(name))
    .flatMap(({ name }) =>
      listIfThere(disk, workPath(roots, name)).map((tree) =>
        join(workPath(roots, name), tree.name),
      ),
    );
}

/** Returns the number of links each stored file has in these snapshots, by path in the store. */
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

/** Calls `use` for the name of every blob, manifest and tag of a snapshot. Opens no file. */
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
