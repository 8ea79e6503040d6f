/** What publishing to object stores asks of the worker threads. */
import { createHash } from 'node:crypto';
import { DropdockError } from '../../errors.js';
import { type Digest, digestAlgorithm, digestHex } from '../../image/digest.js';
import type { Disk } from '../../storage/disk.js';
import { ingestBytes } from '../../storage/into-store.js';
import { contentPath, type TreeRoots, workPath } from '../../storage/tree-paths.js';
import {
  buildObjects,
  checkStoreDrop,
  isEarlier,
  objectsOf,
  recordsOf,
  redirectOf,
  tagsOf,
} from './build-objects.js';

export interface StoreBytesRequest {
  readonly roots: TreeRoots;
  readonly transaction: string;
  readonly digest: Digest;
  readonly bytes: Uint8Array;
}

/** Brings a manifest from a store into the content store. @throws target.damaged */
function storeBytes(disk: Disk, { roots, transaction, digest, bytes }: StoreBytesRequest): void {
  const found = createHash(digestAlgorithm(digest)).update(bytes).digest('hex');
  if (found !== digestHex(digest)) {
    throw new DropdockError(
      'target.damaged',
      `What the target has as ${digest} is something else.`,
      {
        digest,
      },
    );
  }
  ingestBytes(disk, bytes, contentPath(roots, digest), workPath(roots, transaction));
}

export const objectJobs = {
  buildObjects,
  storeBytes,
  redirectOf: (_disk: Disk, request: Parameters<typeof redirectOf>[0]) => redirectOf(request),
  recordsOf: (_disk: Disk, request: Parameters<typeof recordsOf>[0]) => recordsOf(request),
  isEarlier: (_disk: Disk, request: Parameters<typeof isEarlier>[0]) => isEarlier(request),
  checkStoreDrop: (_disk: Disk, request: Parameters<typeof checkStoreDrop>[0]) =>
    checkStoreDrop(request),
  tagsOf: (_disk: Disk, request: Parameters<typeof tagsOf>[0]) => tagsOf(request),
  objectsOf: (_disk: Disk, request: Parameters<typeof objectsOf>[0]) => objectsOf(request),
} as const;

export type ObjectJobs = typeof objectJobs;
