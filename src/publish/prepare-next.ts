/**
 * Makes trees ahead of time, while nobody waits for them: links to everything the current snapshot
 * holds. What they are called, and where they lie, is told by prepared-tree.ts.
 */
import { join } from 'node:path';
import type { Disk } from '../disk/disk.js';
import {
  discard,
  ensureDirectory,
  listIfThere,
  makeDirectory,
  syncDirectory,
} from '../disk/durable.js';
import { hasErrno } from '../errors.js';
import { isDigest } from '../image/digest.js';
import { Inventory, LARGE_DIRECTORIES } from '../snapshot/inventory.js';
import type { Timestamp } from '../snapshot/timestamp.js';
import { readPivot } from './current.js';
import {
  contentPath,
  preparedPath,
  snapshotPath,
  type TreeRoots,
  transactionOwner,
  workPath,
} from './paths.js';
import {
  listPrepared,
  MAKING,
  namesOf,
  type PreparedPlace,
  preparedName,
  stampOf,
  TREE_DIRECTORY_MODE,
  throwAway,
} from './prepared-tree.js';
import { snapshotVersion } from './recall.js';

/** More repositories of this size are not published to at one time. */
const PREPARED_MAX = 16;

export interface PrepareNextRequest extends PreparedPlace {
  /** How many are to be ready, one of them made of the current snapshot; 1 where it is left out. */
  readonly wanted?: number;
}

/**
 * Makes the next trees of a repository ready. Holds no lock: who publishes meanwhile takes what is
 * whole. @returns how many links were made
 */
export function prepareNext(disk: Disk, request: PrepareNextRequest): number {
  const { roots, id, owner, wanted = 1 } = request;
  const ready = preparedPath(roots, owner, id);
  let links = 0;
  try {
    discardMaking(disk, request);
    for (let made = 0; made < wanted; made++) {
      const base = readPivot(disk, roots, id);
      if (base === null) {
        throwAway(disk, roots, ready);
        break;
      }
      const version = snapshotVersion(disk, roots, id, base);
      const trees = listPrepared(disk, request);
      const isReady = trees.some((tree) => tree.version === version);
      if (isReady && trees.length >= wanted) break;
      links += makeTree(disk, request, { base, version });
      // Older ones may be of use to those who know what has changed since; but not many.
      for (const { name } of trees.slice(0, Math.max(trees.length - wanted + 1, 0))) {
        throwAway(disk, roots, join(ready, name));
      }
    }
    return links;
  } catch (error) {
    discardMaking(disk, request);
    // Somebody has published and cleaned, or thrown it away: it would have been of no use.
    if (hasErrno(error, 'ENOENT', 'EEXIST')) return links;
    throw error;
  }
}

function makeTree(
  disk: Disk,
  { roots, id, owner }: PreparedPlace,
  { base, version }: { readonly base: Timestamp; readonly version: string },
): number {
  const ready = preparedPath(roots, owner, id);
  makeRoom(disk, roots, owner, ready);
  // As for every transaction: see `begin` in jobs.ts.
  ensureDirectory(disk, ready);
  const making = join(ready, MAKING);
  const { links, inventory } = copyLinks(disk, roots, snapshotPath(roots, id, base), making);
  const stamp = stampOf(disk, making);
  disk.rename(making, join(ready, preparedName({ version, sum: inventory.sum, stamp })));
  return links;
}

function copyLinks(
  disk: Disk,
  roots: TreeRoots,
  from: string,
  to: string,
): { links: number; inventory: Inventory } {
  let links = 0;
  const inventory = new Inventory();
  for (const directory of [
    to,
    `${to}/manifests`,
    ...LARGE_DIRECTORIES.map((each) => `${to}/${each}`),
  ]) {
    makeDirectory(disk, directory, TREE_DIRECTORY_MODE);
  }
  for (const directory of LARGE_DIRECTORIES) {
    const [source, target] = [`${from}/${directory}`, `${to}/${directory}`];
    for (const { name, kind } of listIfThere(disk, source)) {
      if (kind !== 'file' || !linkFile(disk, roots, { source, target, name })) continue;
      inventory.add(`${directory}/${name}`);
      links++;
    }
    syncDirectory(disk, target);
  }
  return { links, inventory };
}

interface LinkToMake {
  readonly source: string;
  readonly target: string;
  readonly name: string;
}

/**
 * As a publish would: what is named by a digest from the store, the rest from the last snapshot. Of
 * manifests/1 a digest may name other bytes than what is stored under it.
 */
function linkFile(disk: Disk, roots: TreeRoots, { source, target, name }: LinkToMake): boolean {
  const isContent = isDigest(name) && !source.endsWith('manifests/1');
  const path = `${target}/${name}`;
  if (isContent && linkOrNot(disk, contentPath(roots, name), path)) return true;
  if (linkOrNot(disk, `${source}/${name}`, path)) return true;
  // The publish does what cannot be done here, in its own ways; unless all of this was thrown away.
  disk.stat(target);
  return false;
}

function linkOrNot(disk: Disk, existing: string, path: string): boolean {
  try {
    disk.link(existing, path);
    return true;
  } catch (error) {
    if (!hasErrno(error, 'EMLINK', 'ENOENT')) throw error;
    return false;
  }
}

/** The oldest go, so that they do not pile up. */
function makeRoom(disk: Disk, roots: TreeRoots, owner: string, ready: string): void {
  const ours = namesOf(disk, roots).filter(
    (name) => transactionOwner(name) === owner && workPath(roots, name) !== ready,
  );
  if (ours.length < PREPARED_MAX) return;
  const byAge = ours
    .map((name) => ({ name, ms: disk.stat(workPath(roots, name)).mtimeMs }))
    .sort((a, b) => a.ms - b.ms);
  for (const { name } of byAge.slice(0, ours.length - PREPARED_MAX + 1)) {
    throwAway(disk, roots, workPath(roots, name));
  }
}

function discardMaking(disk: Disk, { roots, id, owner }: PreparedPlace): void {
  discard(() => throwAway(disk, roots, join(preparedPath(roots, owner, id), MAKING)));
}
