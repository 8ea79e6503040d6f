/** A blob to be brought into the store, and its bytes: read once, and checked on the way. */
import { createHash, type Hash } from 'node:crypto';
import { DropdockError } from '../errors.js';
import { type Digest, digestAlgorithm } from '../image/digest.js';
import { READ_CHUNK_BYTES } from '../image/limits.js';
import type { Disk } from './disk.js';
import { addProgress, type Progress } from './progress.js';

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

export function hashOpenFile(disk: Disk, fd: number, blob: BlobToIngest): void {
  const hash = createHash(digestAlgorithm(blob.digest));
  eachChunk(disk, fd, blob, (chunk) => hash.update(chunk));
  checkDigest(blob, hash);
}

/** Reads one byte more than the descriptor allows, so that a file that grew is noticed. */
export function eachChunk(
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
    // There was less than was asked for, and as much as there should be: that was all.
    if (count < wanted && position === size) break;
  }
  checkSize(blob, position);
}

export function checkSize({ size, path, digest }: BlobToIngest, found: number): void {
  if (found === size) return;
  throw new DropdockError(
    'size.mismatch',
    `${path} is ${found} bytes long, its descriptor says ${size}.`,
    { path, digest, found, expected: size },
  );
}

export function checkDigest({ digest, path }: BlobToIngest, hash: Hash): void {
  const found = `${digestAlgorithm(digest)}:${hash.digest('hex')}`;
  if (found === digest) return;
  throw new DropdockError('digest.mismatch', `${path} holds other bytes than ${digest}.`, {
    path,
    digest,
    found,
  });
}
