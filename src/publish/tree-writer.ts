/**
 * Writes a rendered snapshot into a work directory and moves it, complete and synced, to its name.
 * Until the flip nobody looks at it (I2, I3).
 */
import { dirname, join } from 'node:path';
import type { Disk } from '../disk/disk.js';
import {
  discard,
  ensureDirectory,
  makeDirectory,
  readFile,
  removeIfThere,
  syncDirectory,
  withOpen,
} from '../disk/durable.js';
import { FreshFiles } from '../disk/fresh-files.js';
import { STORED_MODE } from '../disk/stored.js';
import { DropdockError, hasErrno } from '../errors.js';
import type { Digest } from '../image/digest.js';
import { MANIFEST_BYTES_MAX } from '../image/limits.js';
import type { RepositoryId } from '../image/names.js';
import type { RenderedFile } from '../snapshot/render.js';
import type { Timestamp } from '../snapshot/timestamp.js';
import {
  contentPath,
  snapshotPath,
  snapshotsDirectory,
  type TreeRoots,
  transactionOwner,
  workPath,
} from './paths.js';
import { type Prepared, removeRest, TREE_DIRECTORY_MODE, takePrepared } from './prepared-tree.js';

export interface TreeToWrite {
  readonly roots: TreeRoots;
  readonly id: RepositoryId;
  readonly transaction: string;
  readonly snapshot: Timestamp;
  readonly base: Timestamp | null;
  readonly files: readonly RenderedFile[];
  /** Paths of tags that the base serves with the same content; their files are kept. */
  readonly unmoved: ReadonlySet<string>;
  /** Written last of all files. */
  readonly redirectPath: string;
  readonly freshTime: number;
}

/** Steps 6 to 8 of a publish. @throws system errors; then nothing but the work directory is left */
export function writeTree(disk: Disk, tree: TreeToWrite): void {
  const root = join(workPath(tree.roots, tree.transaction), 'tree');
  // 6. Build it under work/.
  const owner = transactionOwner(tree.transaction);
  const prepared = takePrepared(disk, { ...tree, owner }, tree.base, root);
  const directories = makeDirectories(disk, root, tree.files, prepared);
  const isRedirect = ({ path }: RenderedFile) => path === tree.redirectPath;
  const expected = tree.files.filter((file) => isFresh(tree, file)).length;
  const put = (file: RenderedFile, fresh: FreshFiles) => {
    if (prepared?.files.delete(file.path)) {
      if (!isFresh(tree, file)) return;
      disk.unlink(`${root}/${file.path}`);
    }
    writeFile(disk, tree, root, file, fresh);
  };
  FreshFiles.use(disk, { place: root, expected }, (fresh) => {
    for (const file of tree.files) if (!isRedirect(file)) put(file, fresh);
    if (prepared) removeRest(disk, root, prepared, new Set(directories));
    // 7. Write the redirect file into it (Pulp issue 3357: the flip must not come first).
    for (const file of tree.files) if (isRedirect(file)) put(file, fresh);
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

/** @returns the directories of the tree, below `root`, leaves before what holds them */
function makeDirectories(
  disk: Disk,
  root: string,
  files: readonly RenderedFile[],
  prepared: Prepared | undefined,
): string[] {
  const wanted = new Set<string>(['.', 'blobs', 'manifests', 'tags']);
  for (const { path } of files) {
    for (let end = path.lastIndexOf('/'); end > 0; end = path.lastIndexOf('/', end - 1)) {
      const directory = path.slice(0, end);
      if (wanted.has(directory)) break;
      wanted.add(directory);
    }
  }
  const sorted = [...wanted].sort();
  for (const directory of sorted) {
    if (prepared?.directories.has(directory)) continue;
    makeDirectory(disk, join(root, directory), TREE_DIRECTORY_MODE);
  }
  return sorted.reverse();
}

/** Written anew, unless the base turns out to lack it. */
function isFresh({ unmoved }: TreeToWrite, file: RenderedFile): boolean {
  return 'text' in file || ('tagged' in file && !unmoved.has(file.path));
}

function writeFile(
  disk: Disk,
  tree: TreeToWrite,
  root: string,
  file: RenderedFile,
  fresh: FreshFiles,
): void {
  // Not joined: 200,000 of them would take longer than their links.
  const path = `${root}/${file.path}`;
  const how = { mode: STORED_MODE, mtime: tree.freshTime };
  if ('text' in file) {
    fresh.write(path, Buffer.from(file.text), how);
  } else if ('content' in file) {
    linkContent(disk, tree, file.content, file.path, path);
  } else if (!tree.unmoved.has(file.path) || !linkFromBase(disk, tree, file.path, path)) {
    // nginx makes its ETag of time and size: a moved tag must be a fresh file with a new time.
    fresh.write(path, loadManifest(disk, tree.roots, file.tagged), how);
  }
}

export function loadManifest(disk: Disk, roots: TreeRoots, digest: Digest): Buffer {
  try {
    return readFile(disk, contentPath(roots, digest), MANIFEST_BYTES_MAX);
  } catch (error) {
    throw hasErrno(error, 'ENOENT') ? vanished(digest, error) : error;
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

function vanished(digest: Digest, cause: unknown): DropdockError {
  return new DropdockError(
    'content.vanished',
    `${digest} is no longer in the content store.`,
    { digest },
    cause,
  );
}
