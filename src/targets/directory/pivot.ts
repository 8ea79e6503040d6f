/** Reads what is published now, through the pivot, as a publisher sees it. */
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
 * The snapshot the pivot names; null before the first publish.
 * @throws layout.unsafe when something that dropdock did not make stands in its place
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
      `${path} is not a link; a rename cannot replace it. Move it away.`,
      { path },
      error,
    );
  }
  const snapshot = snapshotOfTarget(id, target);
  if (snapshot !== undefined) return snapshot;
  throw new DropdockError(
    'layout.unsafe',
    `${path} leads to ${target}, which dropdock did not make. Move it away, or choose another id.`,
    { path },
  );
}

/**
 * Reads the current snapshot without the repository's lock. It may be cleaned away while it is read: then
 * another one is current by now, and that is read.
 * @returns undefined where nothing is published
 * @throws ENOENT when what the pivot names is not there, or something of it
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

/** Undefined for what is not there (any more): a snapshot may be cleaned away while it is read. */
export function ifThere<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
}

/** Reads a snapshot's own description. */
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

/** The snapshot that is current in the directory; undefined where there is none. */
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

/** What a snapshot was built on; reads its first lines alone, however many tags it has. */
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

/** The names of all complete snapshots, oldest first, and of strangers among them. */
export function listSnapshots(disk: Disk, roots: TreeRoots, id: RepositoryId): string[] {
  return listIfThere(disk, snapshotsDirectory(roots, id))
    .map(({ name }) => name)
    .sort();
}

/** What a thin drop may leave out: what this very snapshot serves, and no other's (I8). */
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
      // What repair took out of the store was damaged: the drop must bring it back.
      return disk.statIfThere(contentPath(roots, digest))?.size === size ? size : undefined;
    },
    readManifest: (digest) => {
      if (!isDigest(digest)) return undefined;
      for (const kind of ['oci', 'oci-index', '2', 'list', '1']) {
        const path = join(root, 'manifests', kind, digest);
        // As for blobs; and a referrers response that dropdock wrote is content of no store. Under `1` a
        // name may be that of what was signed, which says nothing about the store.
        if (kind !== '1' && disk.statIfThere(contentPath(roots, digest)) === undefined) continue;
        const bytes = ifThere(() => readFile(disk, path, MANIFEST_BYTES_MAX));
        if (bytes) return bytes;
      }
      return undefined;
    },
  };
}
