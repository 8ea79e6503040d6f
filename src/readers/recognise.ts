/** Reads a drop of whatever format. */
import type { Disk } from '../disk/disk.js';
import { DropdockError } from '../errors.js';
import type { Reading } from '../image/staged-content.js';
import type { Bundle, PublishedContent } from './bundle.js';
import { withDirectoryBundle } from './directory-bundle.js';
import { recogniseBundle } from './formats.js';
import type { WantedName } from './name-roots.js';
import { readOciLayout } from './oci-layout.js';
import { readSkopeoDir } from './skopeo-dir.js';
import type { Compression } from './spool.js';
import { isTarHeader } from './tar-headers.js';

/** What an archive's first bytes say; undefined for a file that is none. */
export function recogniseArchive(start: Buffer): 'tar' | Compression | undefined {
  if (start[0] === 0x1f && start[1] === 0x8b) return 'gzip';
  if (start.length >= 4 && start.readUInt32LE(0) === 0xfd2fb528) return 'zstd';
  return isTarHeader(start) ? 'tar' : undefined;
}

/** Reads what holds its manifests. @throws format.unknown and every other content error */
export function readBundle(
  bundle: Bundle,
  wanted: WantedName,
  published: PublishedContent,
): Reading {
  switch (recogniseBundle(bundle)) {
    case 'oci-layout':
      return readOciLayout(bundle, wanted, published);
    case 'skopeo-dir':
      return readSkopeoDir(bundle, wanted, published);
    default:
      throw new DropdockError('format.unknown', 'It holds no image.', { path: '.' });
  }
}

/**
 * Reads a directory drop.
 * @throws format.unknown and every other content error; what may still arrive is in `missing`
 */
export function readDirectoryDrop(
  disk: Disk,
  path: string,
  wanted: WantedName,
  published: PublishedContent,
): Reading {
  return withDirectoryBundle(disk, path, (bundle) => readBundle(bundle, wanted, published));
}
