/**
 * One blob on its way into the content store: its bytes are hashed as they are linked, cloned or
 * copied, and what was hashed is what is stored (I5). One pass over the bytes.
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

/** Filesystems that refused a reflink; asking each again costs a file made and removed. */
const withoutReflinks = new Set<number>();

/**
 * @returns 'present' for what is in the store by now; everything else lies at its temporary name
 * @throws content.missing, size.mismatch, digest.mismatch, path.outside, file.type; system errors
 */
export function placeBlob(disk: Disk, blob: BlobToIngest, files: FreshFiles): Ingested {
  return InsideDirectory.use(disk, blob.root, (inside) => placeFrom(inside, blob, files));
}

/** The same for one of several below a directory that is open. */
export function placeFrom(
  inside: InsideDirectory,
  blob: BlobToIngest,
  files: FreshFiles,
): Ingested {
  const { disk } = inside;
  const file = inside.open(blob.path);
  if (file === undefined) {
    throw new DropdockError('content.missing', `${blob.path} is not in the drop.`, {
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

/** The file of the drop. Where that very file is stored, it is synced later and closed then. */
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
    // Having the digest is not having the bytes: the drop must prove that it holds them (I8).
    hashOpenFile(disk, fd, blob);
    markUsed(disk, blob.destination);
    return 'present';
  }
  try {
    return placeAnew(disk, blob, inside, source, files);
  } catch (error) {
    if (!hasErrno(error, 'EEXIST')) throw error;
    // Somebody who used that name before has left it.
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
    // A clone is as cheap as a link, and what is written to the file from now on is not in it.
    if (tryClone(disk, blob, fd, stat, files)) return 'cloned';
    if (mayLink(blob, stat) && tryLink(disk, blob, inside, source, files)) return 'linked';
  }
  copyWhileHashing(disk, blob, fd, files);
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
  source: SourceFile,
  files: FreshFiles,
): boolean {
  const { stat } = source;
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
  // A clone has the mode of what it is cloned from, which may be read-only.
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
