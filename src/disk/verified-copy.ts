/**
 * Brings one blob into the content store: its bytes are hashed as they are linked, cloned or
 * copied, and what was hashed is what is stored (I5). One pass over the bytes.
 */
import { createHash, type Hash } from 'node:crypto';
import { dirname } from 'node:path';
import { DropdockError, hasErrno } from '../errors.js';
import { type Digest, digestAlgorithm } from '../image/digest.js';
import { READ_CHUNK_BYTES } from '../image/limits.js';
import type { Disk, Stat } from './disk.js';
import {
  discard,
  ensureDirectory,
  removeIfThere,
  statIfThere,
  syncDirectory,
  writeAll,
} from './durable.js';
import { InsideDirectory } from './inside.js';
import { addProgress, type Progress } from './progress.js';
import { type Ingested, markUsed, STORED_MODE } from './stored.js';

export interface BlobToIngest {
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  /** The directory that holds the file, and its path below. */
  readonly root: string;
  readonly path: string;
  /** Where the blob begins in that file; a whole file where it is left out. */
  readonly offset?: number | undefined;
  /** Where it goes, and a name of ours on the same filesystem for the way. */
  readonly destination: string;
  readonly temporary: string;
  /** 'auto' may link a file that nobody else can write; 'copy' never links. */
  readonly ingest: 'auto' | 'copy';
  /** Counts the bytes that were read. */
  readonly progress?: Progress | undefined;
  /** The user this process runs as. */
  readonly uid: number;
}

/** Filesystems that refused a reflink; asking each again costs a file made and removed. */
const withoutReflinks = new Set<number>();

/**
 * @throws content.missing, size.mismatch, digest.mismatch, path.outside, file.type; system errors
 */
export function ingestBlob(disk: Disk, blob: BlobToIngest): Ingested {
  return InsideDirectory.use(disk, blob.root, (inside) => {
    const fd = inside.open(blob.path);
    if (fd === undefined) {
      throw new DropdockError('content.missing', `${blob.path} is not in the drop.`, {
        path: blob.path,
        digest: blob.digest,
      });
    }
    try {
      return ingestOpenBlob(disk, blob, inside, fd);
    } catch (error) {
      discard(() => removeIfThere(disk, blob.temporary));
      throw error;
    } finally {
      disk.close(fd);
    }
  });
}

function ingestOpenBlob(
  disk: Disk,
  blob: BlobToIngest,
  inside: InsideDirectory,
  fd: number,
): Ingested {
  const stat = disk.statOpen(fd);
  if (blob.offset === undefined) checkSize(blob, stat.size);
  const stored = statIfThere(disk, blob.destination);
  if (stored?.size === blob.size) {
    // Having the digest is not having the bytes: the drop must prove that it holds them (I8).
    hashOpenFile(disk, fd, blob);
    markUsed(disk, blob.destination);
    return 'present';
  }
  ensureDirectory(disk, dirname(blob.destination));
  const how = place(disk, blob, inside, fd, stat);
  disk.rename(blob.temporary, blob.destination);
  syncDirectory(disk, dirname(blob.destination));
  return how;
}

function place(
  disk: Disk,
  blob: BlobToIngest,
  inside: InsideDirectory,
  fd: number,
  stat: Stat,
): Ingested {
  removeIfThere(disk, blob.temporary);
  if (blob.offset === undefined) {
    // A clone is as cheap as a link, and what is written to the file from now on is not in it.
    if (tryClone(disk, blob, fd, stat)) return 'cloned';
    if (mayLink(blob, stat) && tryLink(disk, blob, inside, fd, stat)) return 'linked';
  }
  copyWhileHashing(disk, blob, fd);
  return 'copied';
}

/**
 * Nobody else can open it for writing: our own file, no other name for it, no permission for others.
 * The kernel does not tell who has it open already, so whoever wrote it as us, or before it was made
 * ours, is trusted to be done; where he is not, `ingest: copy`.
 */
export function mayLink(
  { ingest, uid }: Pick<BlobToIngest, 'ingest' | 'uid'>,
  stat: Stat,
): boolean {
  return ingest === 'auto' && stat.uid === uid && stat.links === 1 && (stat.mode & 0o022) === 0;
}

function tryLink(
  disk: Disk,
  blob: BlobToIngest,
  inside: InsideDirectory,
  fd: number,
  stat: Stat,
): boolean {
  try {
    inside.linkTo(blob.path, blob.temporary);
  } catch (error) {
    // EXDEV: the inbox is elsewhere. EPERM: fs.protected_hardlinks, or no links on this filesystem.
    if (hasErrno(error, 'EXDEV', 'EPERM', 'EMLINK', 'EOPNOTSUPP', 'ENOTSUP')) return false;
    throw error;
  }
  const linked = disk.stat(blob.temporary);
  if (linked.ino !== stat.ino || linked.dev !== stat.dev || linked.links !== 2) {
    disk.unlink(blob.temporary);
    return false;
  }
  hashOpenFile(disk, fd, blob);
  disk.setMode(fd, STORED_MODE);
  disk.sync(fd);
  return true;
}

function tryClone(disk: Disk, blob: BlobToIngest, fd: number, stat: Stat): boolean {
  if (withoutReflinks.has(stat.dev)) return false;
  try {
    disk.clone(`/proc/self/fd/${fd}`, blob.temporary);
  } catch (error) {
    if (!hasErrno(error, 'EXDEV', 'ENOTSUP', 'EOPNOTSUPP', 'EINVAL', 'ENOTTY', 'ENOSYS')) {
      throw error;
    }
    withoutReflinks.add(stat.dev);
    removeIfThere(disk, blob.temporary);
    return false;
  }
  // A clone has the mode of what it is cloned from, which may be read-only.
  const clone = disk.open(blob.temporary, 'read');
  try {
    checkSize(blob, disk.statOpen(clone).size);
    hashOpenFile(disk, clone, blob);
    disk.setMode(clone, STORED_MODE);
    disk.sync(clone);
  } finally {
    disk.close(clone);
  }
  return true;
}

function copyWhileHashing(disk: Disk, blob: BlobToIngest, fd: number): void {
  const out = disk.open(blob.temporary, 'create');
  try {
    const hash = createHash(digestAlgorithm(blob.digest));
    eachChunk(disk, fd, blob, (chunk, position) => {
      hash.update(chunk);
      writeAll(disk, out, chunk, position);
    });
    checkDigest(blob, hash);
    disk.setMode(out, STORED_MODE);
    disk.sync(out);
  } finally {
    disk.close(out);
  }
}

function hashOpenFile(disk: Disk, fd: number, blob: BlobToIngest): void {
  const hash = createHash(digestAlgorithm(blob.digest));
  eachChunk(disk, fd, blob, (chunk) => hash.update(chunk));
  checkDigest(blob, hash);
}

/** Reads one byte more than the descriptor allows, so that a file that grew is noticed. */
function eachChunk(
  disk: Disk,
  fd: number,
  blob: BlobToIngest,
  use: (chunk: Uint8Array, position: number) => void,
): void {
  const { size, offset } = blob;
  const end = offset === undefined ? size + 1 : size;
  const buffer = Buffer.allocUnsafe(Math.min(READ_CHUNK_BYTES, size + 1));
  let position = 0;
  while (position < end) {
    const wanted = Math.min(buffer.length, end - position);
    const count = disk.read(fd, buffer, wanted, (offset ?? 0) + position);
    if (count === 0) break;
    if (position + count > size) checkSize(blob, position + count);
    use(buffer.subarray(0, count), position);
    addProgress(blob.progress, count);
    position += count;
  }
  checkSize(blob, position);
}

function checkSize({ size, path, digest }: BlobToIngest, found: number): void {
  if (found === size) return;
  throw new DropdockError(
    'size.mismatch',
    `${path} is ${found} bytes long, its descriptor says ${size}.`,
    { path, digest, found, expected: size },
  );
}

function checkDigest({ digest, path }: BlobToIngest, hash: Hash): void {
  const found = `${digestAlgorithm(digest)}:${hash.digest('hex')}`;
  if (found === digest) return;
  throw new DropdockError('digest.mismatch', `${path} holds other bytes than ${digest}.`, {
    path,
    digest,
    found,
  });
}
