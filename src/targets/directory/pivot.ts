/** Reads the published tree through the pivot. */
import { join } from 'node:path';
import { DropdockError, hasErrno } from '../../errors.js';
import { isDigest } from '../../image/digest.js';
import { MANIFEST_BYTES_MAX } from '../../image/limits.js';
import type { RepositoryId } from '../../image/names.js';
import type { CurrentSnapshot } from '../../publisher/target.js';
import { SNAPSHOT_FILE } from '../../repository/render.js';
import {
  parseHeader,
  parseSnapshot,
  type SnapshotText,
  type StoredSnapshot,
} from '../../repository/snapshot-file.js';
import type { Timestamp } from '../../repository/timestamp.js';
import type { Disk } from '../../storage/disk.js';
import { listIfThere, readFile } from '../../storage/durable.js';
import { job } from '../../storage/job.js';
import {
  contentPath,
  pivotPath,
  snapshotOfTarget,
  snapshotPath,
  snapshotsDirectory,
  type TreeRoots,
} from '../../storage/tree-paths.js';

/**
 * Returns the snapshot that the pivot names; null before the first publish.
 * @throws layout.unsafe when the pivot was not made by dropdock
 */
export function readPivot(disk: Disk, roots: TreeRoots, id: RepositoryId): Timestamp | null {
  const path = pivotPath(roots, id);
  let target: string;
  try {
    target = disk.readLink(path);
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return null;
    if (!hasErrno(error, 'EINVAL')) throw error;
    throw new DropdockError(
      'layout.unsafe',
      `'${path}' is not a symbolic link, so a publish cannot replace it. Move it away.`,
      { path },
      error,
    );
  }
  const snapshot = snapshotOfTarget(id, target);
  if (snapshot !== undefined) return snapshot;
  throw new DropdockError(
    'layout.unsafe',
    `'${path}' points to '${target}', which dropdock did not make. Move it away, or choose another id.`,
    { path },
  );
}

/**
 * Reads the current snapshot without the repository's lock. When a cleaning removes it meanwhile, reads the
 * one that is current then.
 * @returns undefined when nothing is published
 * @throws ENOENT when the snapshot that the pivot names is missing or incomplete
 */
export function readThroughPivot<T>(
  disk: Disk,
  roots: TreeRoots,
  id: RepositoryId,
  read: (snapshot: Timestamp) => T,
): T | undefined {
  let snapshot = readPivot(disk, roots, id);
  while (snapshot !== null) {
    try {
      return read(snapshot);
    } catch (error) {
      const now = readPivot(disk, roots, id);
      if (!hasErrno(error, 'ENOENT') || now === snapshot) throw error;
      snapshot = now;
    }
  }
  return undefined;
}

/** Returns undefined on ENOENT: a snapshot may be removed while it is read. */
export function ifThere<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
}

/** Reads the description of a snapshot. */
export function readSnapshot(
  disk: Disk,
  roots: TreeRoots,
  id: RepositoryId,
  snapshot: Timestamp,
): StoredSnapshot {
  const path = join(snapshotPath(roots, id, snapshot), SNAPSHOT_FILE);
  return parseSnapshot(readFile(disk, path, Number.MAX_SAFE_INTEGER), path);
}

/** See `Target.current`. */
export const currentSnapshot = job(
  'fast',
  import.meta.url,
  function currentSnapshot(
    disk: Disk,
    { roots, id }: { readonly roots: TreeRoots; readonly id: RepositoryId },
  ): CurrentSnapshot | undefined {
    return readThroughPivot(disk, roots, id, (snapshot) => {
      const { state, base } = readSnapshot(disk, roots, id, snapshot);
      const { repository, removed = false } = state;
      const tags = new Map([...state.tags].map(([tag, { digest }]) => [tag, digest]));
      return { repository, snapshot, base: base as Timestamp | null, removed, tags };
    });
  },
);

/** Returns the text of the current snapshot; undefined when there is none. */
export const readLocalText = job(
  'fast',
  import.meta.url,
  function readLocalText(
    disk: Disk,
    { roots, id }: { readonly roots: TreeRoots; readonly id: RepositoryId },
  ): SnapshotText | undefined {
    return readThroughPivot(disk, roots, id, (snapshot) => {
      const path = join(snapshotPath(roots, id, snapshot), SNAPSHOT_FILE);
      return { snapshot, text: readFile(disk, path, Number.MAX_SAFE_INTEGER) };
    });
  },
);

/**
 * Returns the snapshot that this one was built on. Parses only the header, so its cost does not depend on the
 * tags.
 */
export function readBase(
  disk: Disk,
  roots: TreeRoots,
  id: RepositoryId,
  snapshot: Timestamp,
): Timestamp | null {
  const path = join(snapshotPath(roots, id, snapshot), SNAPSHOT_FILE);
  const { base } = parseHeader(readFile(disk, path, Number.MAX_SAFE_INTEGER), path);
  return base as Timestamp | null;
}

/** Returns the names in master/<id>/, oldest first: complete snapshots, and unknown entries. */
export function listSnapshots(disk: Disk, roots: TreeRoots, id: RepositoryId): string[] {
  return listIfThere(disk, snapshotsDirectory(roots, id))
    .map(({ name }) => name)
    .sort();
}

/** Returns what a thin drop may leave out: what this snapshot serves, and no other's content (I8). */
export function publishedContent(
  disk: Disk,
  roots: TreeRoots,
  id: RepositoryId,
  snapshot: Timestamp | null,
): {
  sizeOf(digest: string): number | undefined;
  readManifest(digest: string): Buffer | undefined;
} {
  if (snapshot === null) return { sizeOf: () => undefined, readManifest: () => undefined };
  const root = snapshotPath(roots, id, snapshot);
  return {
    sizeOf: (digest) => {
      if (!isDigest(digest)) return undefined;
      const size = disk.statIfThere(join(root, 'blobs', digest))?.size;
      if (size === undefined) return undefined;
      // A file that repair took out of the store was damaged: the drop must supply it again.
      return disk.statIfThere(contentPath(roots, digest))?.size === size ? size : undefined;
    },
    readManifest: (digest) => {
      if (!isDigest(digest)) return undefined;
      for (const kind of ['oci', 'oci-index', '2', 'list', '1']) {
        const path = join(root, 'manifests', kind, digest);
        // As for blobs. Generated referrers responses are not in the content store. Under `1` the name may be
        // the digest of the signed part, which says nothing about the store.
        if (kind !== '1' && disk.statIfThere(contentPath(roots, digest)) === undefined) continue;
        const bytes = ifThere(() => readFile(disk, path, MANIFEST_BYTES_MAX));
        if (bytes) return bytes;
      }
      return undefined;
    },
  };
}
