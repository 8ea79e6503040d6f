/** Opens an archive drop, whatever it is packed in, and reads what it holds. */
import { basename, dirname } from 'node:path';
import type { Disk } from '../disk/disk.js';
import { InsideDirectory } from '../disk/inside.js';
import type { Progress } from '../disk/progress.js';
import { checkArchiveSpace } from '../disk/space.js';
import { DropdockError } from '../errors.js';
import type { Bundle } from '../readers/bundle.js';
import { recogniseArchive } from '../readers/recognise.js';
import { type Compression, openSpooledBundle } from '../readers/spool.js';
import { openTarBundle } from '../readers/tar-bundle.js';

export type Packing = 'tar' | Compression;

/** Undefined for a file that is no archive (yet). */
export function packingOf(disk: Disk, path: string): Packing | undefined {
  return withArchive(disk, path, (_fd, packing) => packing);
}

export interface ArchiveToOpen {
  readonly path: string;
  /** Where the members of a compressed archive are written. */
  readonly spool: string;
  readonly progress: Progress | undefined;
}

/**
 * @throws format.unknown, archive.truncated and all that reading an archive throws
 */
export function openArchive<T>(
  disk: Disk,
  { path, spool, progress }: ArchiveToOpen,
  use: (bundle: Bundle) => T,
): Promise<T> {
  return Promise.resolve(
    withArchive(disk, path, async (fd, packing) => {
      if (packing === undefined) {
        throw new DropdockError('format.unknown', 'The file is no archive.', { path: '.' });
      }
      if (packing !== 'tar') {
        checkArchiveSpace(disk, { place: dirname(spool), size: disk.statOpen(fd).size });
      }
      const bundle =
        packing === 'tar'
          ? openTarBundle(disk, fd, basename(path))
          : await openSpooledBundle(disk, fd, packing, { directory: spool, progress });
      return use(withoutCommonDirectory(bundle));
    }),
  );
}

/** Only for a plain tar, whose members are found without reading it all. */
export function openPlainTar<T>(disk: Disk, path: string, use: (bundle: Bundle) => T): T {
  return withArchive(disk, path, (fd) =>
    use(withoutCommonDirectory(openTarBundle(disk, fd, basename(path)))),
  );
}

function withArchive<T>(
  disk: Disk,
  path: string,
  use: (fd: number, packing: Packing | undefined) => T,
): T {
  return InsideDirectory.use(disk, dirname(path), (inside) => {
    const file = inside.open(basename(path));
    if (file === undefined) {
      throw new DropdockError('content.missing', 'The archive is gone.', { path: basename(path) });
    }
    const { fd } = file;
    const start = Buffer.alloc(512);
    let result: T;
    try {
      const count = disk.read(fd, start, start.length, 0);
      result = use(fd, recogniseArchive(start.subarray(0, count)));
    } catch (error) {
      disk.close(fd);
      throw error;
    }
    if (result instanceof Promise) {
      return result.finally(() => disk.close(fd)) as T;
    }
    disk.close(fd);
    return result;
  });
}

/** `tar c layout/` puts one directory before every name. */
function withoutCommonDirectory(bundle: Bundle): Bundle {
  const names = bundle.names();
  const [first = ''] = names;
  const prefix = first.slice(0, first.indexOf('/') + 1);
  if (prefix === '' || prefix === 'blobs/' || !names.every((name) => name.startsWith(prefix))) {
    return bundle;
  }
  return {
    names: () => names.map((name) => name.slice(prefix.length)),
    size: (path) => bundle.size(prefix + path),
    read: (path, max) => bundle.read(prefix + path, max),
    source: (path) => bundle.source(prefix + path),
  };
}
