/**
 * Brings a layer of a docker-archive into the store. Its config says what its uncompressed bytes hash
 * to, so a layer that is compressed already is unpacked to be compared, and stored as it is. Others are
 * compressed with fflate, not with zlib: zlib's output differs between versions and processors, and
 * the digest must not.
 */
import { createHash } from 'node:crypto';
import { Gzip } from 'fflate';
import { DropdockError } from '../errors.js';
import { decompress, type LayerCompression } from '../formats/decompress.js';
import type { StoredLayer } from '../formats/docker-save.js';
import type { SavedLayer } from '../formats/reading.js';
import { recogniseArchive } from '../formats/recognise.js';
import { type Digest, digestAlgorithm, digestFrom } from '../image/digest.js';
import {
  EXPANSION_FACTOR_MAX,
  LAYERS_EXPANSION_BYTES_FREE,
  READ_CHUNK_BYTES,
} from '../image/limits.js';
import type { Disk } from '../storage/disk.js';
import { removeIfThere, writeAll } from '../storage/durable.js';
import { InsideDirectory } from '../storage/inside-directory.js';
import { addProgress, type Progress } from '../storage/progress.js';
import { adoptSpooled, STORED_MODE } from '../storage/stored.js';

/** Fast; a higher level makes images 5 % smaller in twice the time (measured). */
const GZIP_LEVEL = 1;

/** Where a layer is read from, and where it goes. */
export interface LayerPlace {
  /** A directory, and the file in it that holds the layer. */
  readonly root: string;
  readonly path: string;
  readonly temporary: string;
  readonly compress: 'gzip' | 'none';
  /** False while the layer may still be written: then a layer that is cut short is no damage yet. */
  readonly isEndKnown: boolean;
  readonly progress: Progress | undefined;
  readonly budget: ExpansionBudget;
  readonly destination: (digest: Digest) => string;
}

/** How far the compressed layers of one drop may expand together. */
export class ExpansionBudget {
  #packedBytes = 0;
  #unpackedBytes = 0;

  constructor(readonly freeBytes = LAYERS_EXPANSION_BYTES_FREE) {}

  addPacked(bytes: number): void {
    this.#packedBytes += bytes;
  }

  /** @throws limit.exceeded */
  addUnpacked(bytes: number, path: string): void {
    this.#unpackedBytes += bytes;
    if (this.#unpackedBytes <= this.#packedBytes * EXPANSION_FACTOR_MAX + this.freeBytes) return;
    throw new DropdockError(
      'limit.exceeded',
      `${path}: the layers expand to more than ${EXPANSION_FACTOR_MAX} times their size.`,
      { path },
    );
  }
}

/**
 * @throws digest.mismatch when the layer is not what its config says, or cannot be unpacked;
 *   archive.truncated when it is cut short and may still be written; manifest.unsupported for
 *   compressions that no client reads; limit.exceeded
 */
export function storeLayer(disk: Disk, layer: SavedLayer, place: LayerPlace): Promise<StoredLayer> {
  return InsideDirectory.use(disk, place.root, async (inside) => {
    const file = inside.open(place.path);
    if (file === undefined) {
      throw new DropdockError('content.missing', `${layer.path} is gone.`, { path: layer.path });
    }
    const { fd } = file;
    try {
      return await storeOpenLayer(disk, fd, layer, place);
    } finally {
      disk.close(fd);
    }
  });
}

async function storeOpenLayer(
  disk: Disk,
  fd: number,
  layer: SavedLayer,
  place: LayerPlace,
): Promise<StoredLayer> {
  const start = Buffer.alloc(Math.min(512, layer.size));
  disk.read(fd, start, start.length, layer.source.offset ?? 0);
  const found = recogniseArchive(start);
  // Of layers clients unpack these two alone.
  const packed = found === 'gzip' || found === 'zstd' ? found : undefined;
  const compression = packed ?? place.compress;
  removeIfThere(disk, place.temporary);
  const out = disk.open(place.temporary, 'create');
  try {
    const stored = createHash('sha256');
    let size = 0;
    const write = (chunk: Uint8Array) => {
      stored.update(chunk);
      writeAll(disk, out, chunk, size);
      size += chunk.length;
    };
    const chunks = layerChunks(disk, fd, layer, place.progress);
    if (packed) await storePacked(chunks, packed, layer, place, write);
    else storePlain(chunks, layer, place, write, start);
    const digest = digestFrom('sha256', stored.digest('hex'));
    checkName(layer, packed ? digest : layer.diffId);
    disk.setMode(out, STORED_MODE);
    disk.sync(out);
    adoptSpooled(disk, { path: place.temporary, destination: place.destination(digest) });
    return { digest, size, compression };
  } finally {
    disk.close(out);
  }
}

/** As it is, while what is in it is compared. */
async function storePacked(
  chunks: Iterable<Buffer>,
  compression: LayerCompression,
  layer: SavedLayer,
  { budget, isEndKnown }: LayerPlace,
  write: (chunk: Uint8Array) => void,
): Promise<void> {
  const { path, diffId } = layer;
  const unpacked = createHash(digestAlgorithm(diffId));
  const written = function* () {
    for (const chunk of chunks) {
      write(chunk);
      budget.addPacked(chunk.length);
      yield chunk;
    }
  };
  try {
    await decompress(written(), compression, (piece) => {
      budget.addUnpacked(piece.length, path);
      unpacked.update(piece);
    });
  } catch (error) {
    throw ofLayer(error, layer, isEndKnown);
  }
  checkDiffId(layer, unpacked.digest('hex'));
}

/** What is wrong with the compressed data, said of the layer. */
function ofLayer(error: unknown, { path, diffId }: SavedLayer, isEndKnown: boolean): unknown {
  if (!(error instanceof DropdockError)) return error;
  const { code, message } = error;
  if (code !== 'archive.truncated' && code !== 'archive.damaged') return error;
  if (code === 'archive.truncated' && !isEndKnown) return cutShort(path);
  return new DropdockError(
    'digest.mismatch',
    `The layer ${path} cannot be unpacked. ${message}`,
    { path, digest: diffId },
    error,
  );
}

function storePlain(
  chunks: Iterable<Buffer>,
  layer: SavedLayer,
  { compress, isEndKnown }: LayerPlace,
  write: (chunk: Uint8Array) => void,
  start: Buffer,
): void {
  const raw = createHash(digestAlgorithm(layer.diffId));
  const gzip = compress === 'none' ? undefined : deterministicGzip(write);
  let left = layer.size;
  let tail: Buffer = Buffer.alloc(0);
  for (const chunk of chunks) {
    raw.update(chunk);
    left -= chunk.length;
    if (gzip) gzip.push(chunk, left === 0);
    else write(chunk);
    tail = Buffer.concat([tail, chunk]).subarray(-END_MARK_BYTES);
  }
  if (layer.size === 0) gzip?.push(new Uint8Array(0), true);
  const hex = raw.digest('hex');
  if (layer.diffId.endsWith(`:${hex}`)) return;
  const other = unreadable(start);
  if (other !== undefined) {
    throw new DropdockError(
      'manifest.unsupported',
      `The layer ${layer.path} is compressed with ${other}, which clients do not unpack.`,
      { path: layer.path },
    );
  }
  const isCut = tail.length < END_MARK_BYTES || tail.some((byte) => byte !== 0);
  if (isCut && !isEndKnown) throw cutShort(layer.path);
  checkDiffId(layer, hex);
}

/** A tar ends with two blocks of zeros. */
const END_MARK_BYTES = 1024;

function cutShort(path: string): DropdockError {
  return new DropdockError('archive.truncated', `The layer ${path} ends too early.`, { path });
}

/** @throws digest.mismatch */
function checkDiffId({ path, diffId }: SavedLayer, hex: string): void {
  const found = `${digestAlgorithm(diffId)}:${hex}`;
  if (found === diffId) return;
  throw new DropdockError(
    'digest.mismatch',
    `The layer ${path} holds other bytes than its config says (diff_ids).`,
    { path, digest: diffId, found },
  );
}

/** What lies in a layout's `blobs` must be what its name says. @throws digest.mismatch */
function checkName({ path }: SavedLayer, found: Digest): void {
  const hex = /^blobs\/sha256\/([0-9a-f]{64})$/.exec(path)?.[1];
  if (hex === undefined || found === `sha256:${hex}`) return;
  throw new DropdockError('digest.mismatch', `${path} holds other bytes than its name says.`, {
    path,
    digest: `sha256:${hex}`,
    found,
  });
}

const MAGIC: readonly (readonly [string, Buffer])[] = [
  ['xz', Buffer.from('fd377a585a00', 'hex')],
  ['bzip2', Buffer.from('BZh')],
  ['lz4', Buffer.from('04224d18', 'hex')],
  ['lzip', Buffer.from('LZIP')],
];

function unreadable(start: Buffer): string | undefined {
  return MAGIC.find(([, magic]) => start.subarray(0, magic.length).equals(magic))?.[0];
}

function deterministicGzip(write: (chunk: Uint8Array) => void): Gzip {
  return new Gzip({ level: GZIP_LEVEL, mtime: 0 }, write);
}

function* layerChunks(
  disk: Disk,
  fd: number,
  { source: { offset = 0 }, size }: SavedLayer,
  progress: Progress | undefined,
): Generator<Buffer> {
  for (let at = 0; at < size; ) {
    // fflate keeps what it is given for a while, so each piece has memory of its own.
    const buffer = Buffer.allocUnsafe(Math.min(READ_CHUNK_BYTES, size - at));
    const count = disk.read(fd, buffer, buffer.length, offset + at);
    if (count === 0) {
      throw new DropdockError('archive.truncated', 'The archive ends within a layer.', {});
    }
    at += count;
    addProgress(progress, count);
    yield buffer.subarray(0, count);
  }
}
