/**
 * Links, clones or copies a blob to a temporary name and hashes it in the same pass, so that exactly the
 * hashed bytes are stored (I5).
 */
import { createHash } from 'node:crypto';
import { DropdockError, hasErrno } from '../errors.js';
import { digestAlgorithm } from '../image/digest.js';
import {
  type BlobToIngest,
  checkDigest,
  checkSize,
  eachChunk,
  hashOpenFile,
} from './blob-bytes.js';
import type { Disk, Stat } from './disk.js';
import { removeIfThere, writeAll } from './durable.js';
import type { FreshFiles } from './fresh-files.js';
import { InsideDirectory, type OpenedFile } from './inside-directory.js';
import { type Ingested, markUsed, STORED_MODE } from './stored.js';

/** Filesystems without reflinks. Trying again costs creating and deleting a file. */
const withoutReflinks = new Set<number>();

/**
 * @returns 'present' when the store has it already; otherwise it is at its temporary name
 * @throws content.missing, size.mismatch, digest.mismatch, path.outside, file.type; system errors
 */
export function placeBlob(disk: Disk, blob: BlobToIngest, files: FreshFiles): Ingested {
  return InsideDirectory.use(disk, blob.root, (inside) => placeFrom(inside, blob, files));
}

/** Same as `placeBlob`, below a directory that is already open. */
export function placeFrom(
  inside: InsideDirectory,
  blob: BlobToIngest,
  files: FreshFiles,
): Ingested {
  const { disk } = inside;
  const file = inside.open(blob.path);
  if (file === undefined) {
    throw new DropdockError('content.missing', `The drop does not contain '${blob.path}'.`, {
      path: blob.path,
      digest: blob.digest,
    });
  }
  const source = new SourceFile(disk, file);
  try {
    return placeOpenBlob(disk, blob, inside, source, files);
  } finally {
    source.close();
  }
}

/** The file of the drop. When this very file is stored, it is synced and closed later. */
class SourceFile {
  readonly fd: number;
  readonly stat: Stat;
  #isOurs = true;

  constructor(
    readonly disk: Disk,
    { fd, stat }: OpenedFile,
  ) {
    this.fd = fd;
    this.stat = stat;
  }

  handOver(): number {
    this.#isOurs = false;
    return this.fd;
  }

  close(): void {
    if (this.#isOurs) this.disk.close(this.fd);
  }
}

function placeOpenBlob(
  disk: Disk,
  blob: BlobToIngest,
  inside: InsideDirectory,
  source: SourceFile,
  files: FreshFiles,
): Ingested {
  const { fd, stat } = source;
  if (blob.offset === undefined) checkSize(blob, stat.size);
  const stored = disk.statIfThere(blob.destination);
  if (stored?.size === blob.size) {
    // Knowing the digest is not enough: the drop must hold the bytes (I8).
    hashOpenFile(disk, fd, blob);
    markUsed(disk, blob.destination);
    return 'present';
  }
  try {
    return placeAnew(disk, blob, inside, source, files);
  } catch (error) {
    if (!hasErrno(error, 'EEXIST')) throw error;
    // A leftover under the same temporary name.
    disk.unlink(blob.temporary);
    return placeAnew(disk, blob, inside, source, files);
  }
}

function placeAnew(
  disk: Disk,
  blob: BlobToIngest,
  inside: InsideDirectory,
  source: SourceFile,
  files: FreshFiles,
): Ingested {
  const { fd, stat } = source;
  if (blob.offset === undefined) {
    // A clone costs as little as a link, and later writes to the file do not change it.
    if (tryClone(disk, blob, fd, stat, files)) return 'cloned';
    if (mayLink(blob, stat) && tryLink(disk, blob, inside, source, files)) return 'linked';
  }
  copyWhileHashing(disk, blob, fd, files);
  return 'copied';
}

/**
 * Returns true when no other user can open the file for writing: this user owns it, it has no other link, and
 * others have no write permission. The kernel does not tell which processes have it open. So processes of
 * this user, and those that wrote it before a chown, are trusted to be done; otherwise use `ingest: copy`.
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
  source: SourceFile,
  files: FreshFiles,
): boolean {
  const { stat } = source;
  try {
    inside.linkTo(blob.path, blob.temporary);
  } catch (error) {
    // EXDEV: the inbox is on another filesystem. EPERM: fs.protected_hardlinks, or a filesystem without
    // links.
    if (hasErrno(error, 'EXDEV', 'EPERM', 'EMLINK', 'EOPNOTSUPP', 'ENOTSUP')) return false;
    throw error;
  }
  const linked = disk.stat(blob.temporary);
  if (linked.ino !== stat.ino || linked.dev !== stat.dev || linked.links !== 2) {
    disk.unlink(blob.temporary);
    return false;
  }
  hashOpenFile(disk, source.fd, blob);
  const fd = source.handOver();
  files.keep(fd, blob.temporary, () => disk.setMode(fd, STORED_MODE));
  return true;
}

function tryClone(
  disk: Disk,
  blob: BlobToIngest,
  fd: number,
  stat: Stat,
  files: FreshFiles,
): boolean {
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
  // A clone has the mode of its source, which may be read-only.
  const clone = disk.open(blob.temporary, 'read');
  files.keep(clone, blob.temporary, () => {
    checkSize(blob, disk.statOpen(clone).size);
    hashOpenFile(disk, clone, blob);
    disk.setMode(clone, STORED_MODE);
  });
  return true;
}

function copyWhileHashing(disk: Disk, blob: BlobToIngest, fd: number, files: FreshFiles): void {
  const out = disk.open(blob.temporary, 'create');
  files.keep(out, blob.temporary, () => {
    const hash = createHash(digestAlgorithm(blob.digest));
    eachChunk(disk, fd, blob, (chunk, position) => {
      hash.update(chunk);
      writeAll(disk, out, chunk, position);
    });
    checkDigest(blob, hash);
    disk.setMode(out, STORED_MODE);
  });
}
