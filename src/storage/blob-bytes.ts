/** A blob to be brought into the store. Its bytes are read once and checked while they are read. */
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
  /** The directory that holds the file, and the path of the file in it. */
  readonly root: string;
  readonly path: string;
  /** Offset of the blob in the file; absent when the blob is the whole file. */
  readonly offset?: number | undefined;
  /** Destination in the store, and a temporary name on the same filesystem. */
  readonly destination: string;
  readonly temporary: string;
  /** 'auto' may link a file that no other user can write; 'copy' never links. */
  readonly ingest: 'auto' | 'copy';
  /** Counts the bytes read. */
  readonly progress?: Progress | undefined;
  /** User id of this process. */
  readonly uid: number;
}

export function hashOpenFile(disk: Disk, fd: number, blob: BlobToIngest): void {
  const hash = createHash(digestAlgorithm(blob.digest));
  eachChunk(disk, fd, blob, (chunk) => hash.update(chunk));
  checkDigest(blob, hash);
}

/**
 * Calls `use` for each chunk. Tries to read one byte more than the descriptor says, to notice a file that has
 * grown.
 * @throws size.mismatch, digest.mismatch
 */
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
    // A short read at the expected end: the file is complete.
    if (count < wanted && position === size) break;
  }
  checkSize(blob, position);
}

export function checkSize({ size, path, digest }: BlobToIngest, found: number): void {
  if (found === size) return;
  throw new DropdockError(
    'size.mismatch',
    `The size of '${path}' is ${found} bytes, but its descriptor says ${size}.`,
    { path, digest, found, expected: size },
  );
}

export function checkDigest({ digest, path }: BlobToIngest, hash: Hash): void {
  const found = `${digestAlgorithm(digest)}:${hash.digest('hex')}`;
  if (found === digest) return;
  throw new DropdockError(
    'digest.mismatch',
    `The content of '${path}' does not match its digest ${digest}.`,
    {
      path,
      digest,
      found,
    },
  );
}
