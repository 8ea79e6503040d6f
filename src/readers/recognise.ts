/** Which format a drop is, by what lies in it and never by its name. */
import type { Disk, Entry } from '../disk/disk.js';
import { DropdockError } from '../errors.js';
import { DOCKER_SAVE_MANIFEST_BYTES_MAX } from '../image/limits.js';
import type { Reading } from '../image/staged-content.js';
import type { Bundle, PublishedContent } from './bundle.js';
import { withDirectoryBundle } from './directory-bundle.js';
import { SAVE_MANIFEST } from './docker-save.js';
import type { WantedName } from './name-roots.js';
import { readOciLayout } from './oci-layout.js';
import { readSkopeoDir } from './skopeo-dir.js';
import type { Compression } from './spool.js';
import { isTarHeader } from './tar-headers.js';

export type Format = 'oci-layout' | 'skopeo-dir' | 'docker-save';

/**
 * The format a directory has, or is on its way to: tools write their files in every order.
 * Undefined for a name space, an empty directory, and strangers.
 */
export function recogniseDirectory(entries: readonly Entry[]): Format | undefined {
  return recogniseNames(
    entries.filter(({ kind }) => kind === 'file').map(({ name }) => name),
    () => false,
  );
}

/** The format of what has these files at its top; undefined for strangers. */
export function recogniseBundle(bundle: Bundle): Format | undefined {
  return recogniseNames(bundle.names(), () => {
    const bytes = bundle.read(SAVE_MANIFEST, DOCKER_SAVE_MANIFEST_BYTES_MAX);
    return bytes?.toString('utf8').trimStart().startsWith('[') === true;
  });
}

function recogniseNames(names: readonly string[], isSave: () => boolean): Format | undefined {
  // docker save since 25 writes a layout and a manifest.json for those who know no layouts.
  if (names.includes('oci-layout') || names.includes('index.json')) return 'oci-layout';
  if (names.includes(SAVE_MANIFEST) && isSave()) return 'docker-save';
  if (names.includes('version') || names.includes(SAVE_MANIFEST)) return 'skopeo-dir';
  return undefined;
}

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
