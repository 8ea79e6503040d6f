/**
 * Writes a rendered snapshot into a work directory and moves it, complete and synced, to its name.
 * Until the flip nobody looks at it (I2, I3).
 */
import { dirname, join } from 'node:path';
import { DropdockError, hasErrno } from '../../errors.js';
import type { Digest } from '../../image/digest.js';
import type { RepositoryId } from '../../image/names.js';
import { type ContentFile, renderContent, unmovedTags } from '../../repository/content-files.js';
import type { FileChange, Rendering } from '../../repository/rendering.js';
import type { StoredSnapshot } from '../../repository/snapshot-file.js';
import type { Timestamp } from '../../repository/timestamp.js';
import type { Disk } from '../../storage/disk.js';
import {
  discard,
  ensureDirectory,
  makeDirectory,
  removeIfThere,
  syncDirectory,
  withOpen,
} from '../../storage/durable.js';
import { FreshFiles } from '../../storage/fresh-files.js';
import { loadManifest, STORED_MODE, vanished } from '../../storage/stored.js';
import {
  contentPath,
  snapshotPath,
  snapshotsDirectory,
  type TreeRoots,
  transactionOwner,
  workPath,
} from '../../storage/tree-paths.js';
import {
  listSpareTree,
  SPARE_DIRECTORIES,
  TREE_DIRECTORY_MODE,
  takeSpareTree,
} from './spare-tree.js';

export interface TreeToWrite {
  readonly roots: TreeRoots;
  readonly id: RepositoryId;
  readonly transaction: string;
  readonly snapshot: Timestamp;
  readonly base: Timestamp | null;
  /** What `base` names. */
  readonly stored: StoredSnapshot | undefined;
  /** How `stored` was rendered, where that is known. */
  readonly last: Rendering | undefined;
  readonly rendering: Rendering;
  readonly freshTime: number;
}

/** Steps 6 to 8 of a publish. @throws system errors; then nothing but the work directory is left */
export function writeTree(disk: Disk, tree: TreeToWrite): void {
  const root = join(workPath(tree.roots, tree.transaction), 'tree');
  // 6. Build it under work/.
  const { state, redirectOci, texts } = tree.rendering;
  const spare = takeSpare(disk, tree, root);
  for (const path of spare?.gone ?? []) removeIfThere(disk, `${root}/${path}`);
  const put = spare?.put ?? renderContent(state, redirectOci);
  const isFresh = isFreshIn(tree, put);
  const paths = [...put, ...texts].map(({ path }) => path);
  const directories = arrangeDirectories(disk, root, paths, spare !== undefined);
  const expected = texts.length + put.filter(isFresh).length;
  FreshFiles.use(disk, { place: root, expected }, (fresh) => {
    for (const file of put) putContent(disk, { tree, root, fresh }, file, isFresh(file));
    // 7. The redirect file, the last of the texts, is written into it (Pulp issue 3357: the flip must
    // not come first).
    for (const { path, text } of texts) {
      const bytes = typeof text === 'string' ? Buffer.from(text) : text;
      fresh.write(`${root}/${path}`, bytes, { mode: STORED_MODE, mtime: tree.freshTime });
    }
  });
  // 8. The files are synced; now the directories, leaf to root, then the rename.
  for (const directory of directories) syncDirectory(disk, join(root, directory));
  const home = snapshotsDirectory(tree.roots, tree.id);
  ensureDirectory(disk, home);
  // It may be there and not on disk: made by somebody who died before his sync.
  if (tree.base === null) syncDirectory(disk, dirname(home));
  moveToItsName(disk, root, tree);
  syncDirectory(disk, home);
}

function moveToItsName(disk: Disk, root: string, { roots, id, snapshot }: TreeToWrite): void {
  try {
    disk.rename(root, snapshotPath(roots, id, snapshot));
  } catch (error) {
    if (!hasErrno(error, 'ENOTEMPTY', 'EEXIST', 'ENOTDIR')) throw error;
    throw new DropdockError(
      'pivot.moved',
      `Another publisher has made snapshot ${snapshot} of ${id}.`,
      { snapshot },
      error,
    );
  }
}

/** @returns what makes the snapshot of the spare tree that is at `root` now; undefined where there was none */
function takeSpare(disk: Disk, tree: TreeToWrite, root: string): FileChange | undefined {
  const { roots, id, transaction, base, last, rendering } = tree;
  if (base === null) return undefined;
  const owner = transactionOwner(transaction);
  const files = takeSpareTree(disk, { roots, id, owner }, base, root);
  if (files === undefined) return undefined;
  if (rendering.change && files === last?.files) return rendering.change;
  return changeFrom(listSpareTree(disk, root), tree);
}

/** From a part of the last snapshot, and perhaps files that another program put into it. */
function changeFrom(paths: readonly string[], tree: TreeToWrite): FileChange {
  const { state, redirectOci } = tree.rendering;
  const all = renderContent(state, redirectOci);
  const isFresh = isFreshIn(tree, all);
  const there = new Set(paths);
  // Below manifests/1 a digest may name other bytes than before.
  const isKept = (file: ContentFile) =>
    there.has(file.path) && !isFresh(file) && !file.path.startsWith('manifests/1/');
  const kept = new Set(all.filter(isKept).map(({ path }) => path));
  return {
    gone: paths.filter((path) => !kept.has(path)),
    put: all.filter(({ path }) => !kept.has(path)),
  };
}

/** @returns whether a file is a tag that is new or has moved; what is no tag never is */
function isFreshIn(
  { stored, rendering: { change } }: TreeToWrite,
  put: readonly ContentFile[],
): (file: ContentFile) => boolean {
  if (change === undefined) {
    const unmoved = unmovedTags(put, stored);
    return (file) => 'tagged' in file && !unmoved.has(file.path);
  }
  const moved = new Set(change.put.flatMap((file) => ('tagged' in file ? file.path : [])));
  return ({ path }) => moved.has(path);
}

/**
 * Makes the directories that are not there; those of a spare tree that nothing is left in go.
 * @param paths of files that will be put into the tree
 * @returns all, below `root`, leaves before what holds them
 */
function arrangeDirectories(
  disk: Disk,
  root: string,
  paths: readonly string[],
  isSpare: boolean,
): string[] {
  const wanted = new Set(['.', 'blobs', 'manifests', 'tags']);
  for (const path of paths) wanted.add(dirname(path));
  for (const directory of isSpare ? SPARE_DIRECTORIES : []) {
    if (wanted.has(directory) || !removeIfEmpty(disk, `${root}/${directory}`))
      wanted.add(directory);
  }
  const sorted = [...wanted].sort();
  for (const directory of sorted) {
    if (isSpare && SPARE_DIRECTORIES.has(directory)) continue;
    makeDirectory(disk, join(root, directory), TREE_DIRECTORY_MODE);
  }
  return sorted.reverse();
}

function removeIfEmpty(disk: Disk, path: string): boolean {
  try {
    disk.removeDirectory(path);
    return true;
  } catch (error) {
    if (!hasErrno(error, 'ENOTEMPTY', 'EEXIST')) throw error;
    return false;
  }
}

interface PutContext {
  readonly tree: TreeToWrite;
  readonly root: string;
  readonly fresh: FreshFiles;
}

/** @param isFresh written anew; otherwise only when the base turns out to lack it */
function putContent(
  disk: Disk,
  { tree, root, fresh }: PutContext,
  file: ContentFile,
  isFresh: boolean,
): void {
  // Not joined: 200,000 of them would take longer than their links.
  const path = `${root}/${file.path}`;
  if ('content' in file) linkContent(disk, tree, file.content, file.path, path);
  else if (isFresh || !linkFromBase(disk, tree, file.path, path)) {
    // nginx makes its ETag of time and size: a moved tag must be a fresh file with a new time.
    const how = { mode: STORED_MODE, mtime: tree.freshTime };
    fresh.write(path, loadManifest(disk, tree.roots, file.tagged), how);
  }
}

function linkContent(
  disk: Disk,
  tree: TreeToWrite,
  digest: Digest,
  relative: string,
  path: string,
): void {
  const stored = contentPath(tree.roots, digest);
  try {
    disk.link(stored, path);
  } catch (error) {
    if (hasErrno(error, 'EMLINK')) {
      renewStored(disk, tree, stored);
      disk.link(stored, path);
    } else if (!hasErrno(error, 'ENOENT') || !linkFromBase(disk, tree, relative, path)) {
      throw hasErrno(error, 'ENOENT') ? vanished(digest, error) : error;
    }
  }
}

/**
 * A filesystem allows a file so many names (ext4: 65,000; the two-byte empty blob gets there). The
 * store's name then moves to a copy, whose names are counted anew; old snapshots keep the old file.
 */
function renewStored(disk: Disk, tree: TreeToWrite, stored: string): void {
  const temporary = join(workPath(tree.roots, tree.transaction), 'renewed');
  removeIfThere(disk, temporary);
  try {
    copyFile(disk, stored, temporary);
    disk.rename(temporary, stored);
  } catch (error) {
    discard(() => disk.unlink(temporary));
    throw error;
  }
  syncDirectory(disk, dirname(stored));
}

function copyFile(disk: Disk, from: string, to: string): void {
  withOpen(disk, from, 'read', (source) => {
    withOpen(disk, to, 'create', (target) => {
      const buffer = Buffer.allocUnsafe(1024 * 1024);
      let at = 0;
      for (;;) {
        const count = disk.read(source, buffer, buffer.length, at);
        if (count === 0) break;
        let written = 0;
        while (written < count) {
          written += disk.write(target, buffer.subarray(0, count), written, at + written);
        }
        at += count;
      }
      disk.setMode(target, STORED_MODE);
      disk.sync(target);
    });
  });
}

/** @returns false when the base has no such file */
function linkFromBase(disk: Disk, tree: TreeToWrite, relative: string, path: string): boolean {
  if (tree.base === null) return false;
  const base = `${snapshotsDirectory(tree.roots, tree.id)}/${tree.base}`;
  try {
    disk.link(`${base}/${relative}`, path);
    return true;
  } catch (error) {
    if (hasErrno(error, 'ENOENT', 'EMLINK')) return false;
    throw error;
  }
}
