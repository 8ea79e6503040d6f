/** Recognises the format of a drop by its content, never by its name. */
import { DropdockError } from '../errors.js';
import type { Bundle } from './file-source.js';
import { type Format, isSaveManifest, recogniseNames } from './format.js';
import type { WantedName } from './name-roots.js';
import { type BundleReading, nameReading, type UnnamedReading } from './reading.js';
import { type ReadingOptions, readLayout, readSaveAlone } from './saved-images.js';
import { readSkopeoDir } from './skopeo-dir.js';
import type { Compression } from './spool.js';
import { isTarHeader } from './tar-headers.js';

const XZ_MAGIC = Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0]);

/** Returns the format of a directory with these files at its top; undefined for unknown entries. */
export function recogniseBundle(bundle: Bundle): Format | undefined {
  return recogniseNames(bundle.names(), () => isSaveManifest(bundle));
}

/** Recognises an archive by its first bytes; undefined if it is not an archive. */
export function recogniseArchive(start: Buffer): 'tar' | Compression | undefined {
  if (start[0] === 0x1f && start[1] === 0x8b) return 'gzip';
  if (start.subarray(0, 6).equals(XZ_MAGIC)) return 'xz';
  const magic = start.length >= 4 ? start.readUInt32LE(0) : 0;
  // pzstd begins with a skippable frame (RFC 8878, 3.1.2).
  if (magic === 0xfd2fb528 || (magic & ~0xf) >>> 0 === 0x184d2a50) return 'zstd';
  return isTarHeader(start) ? 'tar' : undefined;
}

/**
 * Reads the content of a drop in any format.
 * @throws format.unknown and every other content error; content that may still arrive is in `missing`
 */
export function readBundle(
  bundle: Bundle,
  wanted: WantedName,
  options: ReadingOptions,
): BundleReading {
  return nameReading(readUnnamed(bundle, options), wanted);
}

function readUnnamed(bundle: Bundle, options: ReadingOptions): UnnamedReading {
  switch (recogniseBundle(bundle)) {
    case 'oci-layout':
      return readLayout(bundle, options);
    case 'skopeo-dir':
      return readSkopeoDir(bundle, options.published);
    case 'docker-save':
      return readSaveAlone(bundle, options);
    default:
      throw noImage(bundle.names());
  }
}

function noImage(names: readonly string[]): DropdockError {
  const shown = names.slice(0, 5).join(', ') + (names.length > 5 ? ', …' : '');
  const held = names.length > 0 ? `It contains no image, only ${shown}.` : 'It is empty.';
  return new DropdockError('format.unknown', held, { path: '.' });
}
