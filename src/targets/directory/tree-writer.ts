/**
 * Writes a rendered snapshot into a work directory and moves it to its name when it is complete and synced.
 * Nothing reads it before the flip (I2, I3).
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
  /** The description of `base`. */
  readonly stored: StoredSnapshot | undefined;
  /** How `stored` was rendered, if known. */
  readonly last: Rendering | undefined;
  readonly rendering: Rendering;
  readonly freshTime: number;
}

/**
 * Steps 6 to 8 of a publish. On failure only the work directory is left behind.
 * @throws system errors
 */
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
    // 7. Write the redirect file, the last of the texts. It must be there before the flip (Pulp issue 3357).
    for (const { path, text } of texts) {
      const bytes = typeof text === 'string' ? Buffer.from(text) : text;
      fresh.write(`${root}/${path}`, bytes, { mode: STORED_MODE, mtime: tree.freshTime });
    }
  });
  // 8. The files are synced. Sync the directories, leaves first, then rename.
  for (const directory of directories) syncDirectory(disk, join(root, directory));
  const home = snapshotsDirectory(tree.roots, tree.id);
  ensureDirectory(disk, home);
  // The directory may exist but not be on disk: its creator may have died before its sync.
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
      `Another publisher made snapshot ${snapshot} of '${id}'.`,
      { snapshot },
      error,
    );
  }
}

/**
 * @returns the differences between the snapshot and the spare tree now at `root`; undefined without a spare
 *   tree
 */
function takeSpare(disk: Disk, tree: TreeToWrite, root: string): FileChange | undefined {
  const { roots, id, transaction, base, last, rendering } = tree;
  if (base === null) return undefined;
  const owner = transactionOwner(transaction);
  const files = takeSpareTree(disk, { roots, id, owner }, base, root);
  if (files === undefined) return undefined;
  if (rendering.change && files === last?.files) return rendering.change;
  return changeFrom(listSpareTree(disk, root), tree);
}

/** Compares with a partial spare tree, which may also hold files put there by another program. */
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

/** @returns whether a file is a new or moved tag; false for other files */
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
 * Creates missing directories and removes those of a spare tree that stay empty.
 * @param paths files to be put into the tree
 * @returns all directories, relative to `root`, children before parents
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

/** @param isFresh write a new file; otherwise only when the base lacks it */
function putContent(
  disk: Disk,
  { tree, root, fresh }: PutContext,
  file: ContentFile,
  isFresh: boolean,
): void {
  // No `join`: for 200,000 files it takes longer than the links.
  const path = `${root}/${file.path}`;
  if ('content' in file) linkContent(disk, tree, file.content, file.path, path);
  else if (isFresh || !linkFromBase(disk, tree, file.path, path)) {
    // nginx makes its ETag from time and size, so a moved tag needs a new file with a new time.
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
 * A filesystem limits the links of a file (ext4: 65,000; the two-byte empty blob reaches that). The store
 * then gets a new copy, whose links are counted anew. Old snapshots keep the old file.
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

/** @returns false when the base does not have the file */
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
