/** Which format a directory is, by what lies in it and never by its name. */
import type { Disk, Entry } from '../disk/disk.js';
import { DropdockError } from '../errors.js';
import type { Reading } from '../image/staged-content.js';
import type { PublishedContent } from './bundle.js';
import { withDirectoryBundle } from './directory-bundle.js';
import type { WantedName } from './name-roots.js';
import { readOciLayout } from './oci-layout.js';
import { readSkopeoDir } from './skopeo-dir.js';

export type Format = 'oci-layout' | 'skopeo-dir';

/**
 * The format a directory has, or is on its way to: tools write their files in every order.
 * Undefined for a name space, an empty directory, and strangers.
 */
export function recogniseDirectory(entries: readonly Entry[]): Format | undefined {
  const has = (name: string, kind: Entry['kind']) =>
    entries.some((entry) => entry.name === name && entry.kind === kind);
  if (has('oci-layout', 'file') || has('index.json', 'file')) return 'oci-layout';
  if (has('version', 'file') || has('manifest.json', 'file')) return 'skopeo-dir';
  return undefined;
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
  const format = recogniseDirectory(disk.list(path));
  return withDirectoryBundle(disk, path, (bundle) => {
    switch (format) {
      case 'oci-layout':
        return readOciLayout(bundle, wanted, published);
      case 'skopeo-dir':
        return readSkopeoDir(bundle, wanted, published);
      default:
        throw new DropdockError('format.unknown', 'The directory holds no image.', { path: '.' });
    }
  });
}
