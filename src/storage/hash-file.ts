/** Computes the digest of a file. */
import { createHash } from 'node:crypto';
import { type Digest, type DigestAlgorithm, digestFrom } from '../image/digest.js';
import { READ_CHUNK_BYTES } from '../image/limits.js';
import type { Disk } from './disk.js';
import { withOpen } from './durable.js';

export function digestOfFile(disk: Disk, path: string, algorithm: DigestAlgorithm): Digest {
  return withOpen(disk, path, 'read', (fd) => {
    const hash = createHash(algorithm);
    const buffer = Buffer.allocUnsafe(READ_CHUNK_BYTES);
    for (let at = 0; ; ) {
      const count = disk.read(fd, buffer, buffer.length, at);
      if (count === 0) return digestFrom(algorithm, hash.digest('hex'));
      hash.update(buffer.subarray(0, count));
      at += count;
    }
  });
}
