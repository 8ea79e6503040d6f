/**
 * Brings a layer of an old docker-save archive into the store. Layers are compressed with fflate,
 * not with zlib: zlib's output differs between versions and processors, and the digest must not.
 */
import { createHash } from 'node:crypto';
import { basename, dirname } from 'node:path';
import { Gzip } from 'fflate';
import type { Disk } from '../disk/disk.js';
import { removeIfThere, writeAll } from '../disk/durable.js';
import { InsideDirectory } from '../disk/inside.js';
import { addProgress, type Progress } from '../disk/progress.js';
import { adoptSpooled, STORED_MODE } from '../disk/stored.js';
import { DropdockError } from '../errors.js';
import { type Digest, digestFrom } from '../image/digest.js';
import { READ_CHUNK_BYTES } from '../image/limits.js';
import type { SavedLayer, StoredLayer } from '../readers/docker-save.js';
import { recogniseArchive } from '../readers/recognise.js';

/** Fast; a higher level makes images 5 % smaller in twice the time (measured). */
const GZIP_LEVEL = 1;

export interface LayerPlace {
  /** The archive. */
  readonly archive: string;
  readonly temporary: string;
  readonly compress: 'gzip' | 'none';
  readonly progress: Progress | undefined;
  readonly destination: (digest: Digest) => string;
}

/** @throws digest.mismatch when the layer is not what its config says */
export function storeLayer(disk: Disk, layer: SavedLayer, place: LayerPlace): StoredLayer {
  const path = layer.source.spooled === undefined ? place.archive : layer.source.path;
  return InsideDirectory.use(disk, dirname(path), (inside) => {
    const file = inside.open(basename(path));
    if (file === undefined) {
      throw new DropdockError('content.missing', `${layer.path} is gone.`, { path: layer.path });
    }
    const { fd } = file;
    try {
      return storeOpenLayer(disk, fd, layer, place);
    } finally {
      disk.close(fd);
    }
  });
}

function storeOpenLayer(disk: Disk, fd: number, layer: SavedLayer, place: LayerPlace): StoredLayer {
  const offset = layer.source.offset ?? 0;
  const start = Buffer.alloc(Math.min(512, layer.size));
  disk.read(fd, start, start.length, offset);
  const found = recogniseArchive(start);
  const isPacked = found === 'gzip' || found === 'zstd';
  const compression = isPacked ? found : place.compress;
  removeIfThere(disk, place.temporary);
  const out = disk.open(place.temporary, 'create');
  try {
    const raw = createHash('sha256');
    const stored = createHash('sha256');
    let size = 0;
    const write = (chunk: Uint8Array) => {
      stored.update(chunk);
      writeAll(disk, out, chunk, size);
      size += chunk.length;
    };
    const gzip = isPacked || compression === 'none' ? undefined : deterministicGzip(write);
    eachChunk(disk, fd, offset, layer.size, place.progress, (chunk, isLast) => {
      raw.update(chunk);
      if (gzip) gzip.push(chunk, isLast);
      else write(chunk);
    });
    const rawDigest = `sha256:${raw.digest('hex')}`;
    if (!isPacked && rawDigest !== layer.diffId) {
      throw new DropdockError('digest.mismatch', `${layer.path} holds other bytes.`, {
        path: layer.path,
        digest: layer.diffId,
        found: rawDigest,
      });
    }
    disk.setMode(out, STORED_MODE);
    disk.sync(out);
    const digest = digestFrom('sha256', stored.digest('hex'));
    adoptSpooled(disk, { path: place.temporary, destination: place.destination(digest) });
    return { digest, size, compression };
  } finally {
    disk.close(out);
  }
}

function deterministicGzip(write: (chunk: Uint8Array) => void): Gzip {
  return new Gzip({ level: GZIP_LEVEL, mtime: 0 }, write);
}

function eachChunk(
  disk: Disk,
  fd: number,
  offset: number,
  size: number,
  progress: Progress | undefined,
  use: (chunk: Buffer, isLast: boolean) => void,
): void {
  if (size === 0) use(Buffer.alloc(0), true);
  for (let at = 0; at < size; ) {
    // fflate keeps what it is given for a while, so each piece has memory of its own.
    const buffer = Buffer.allocUnsafe(Math.min(READ_CHUNK_BYTES, size - at));
    const count = disk.read(fd, buffer, buffer.length, offset + at);
    if (count === 0) {
      throw new DropdockError('archive.truncated', 'The archive ends within a layer.', {});
    }
    at += count;
    addProgress(progress, count);
    use(buffer.subarray(0, count), at === size);
  }
}
