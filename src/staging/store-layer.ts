/**
 * Stores a layer of a docker-archive. The image config has the digest of the uncompressed layer (diff_ids),
 * so a compressed layer is decompressed for comparison and stored unchanged. Other layers are compressed with
 * fflate, not zlib: the output of zlib differs between versions and processors, and the digest must not.
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

/** Fast. A higher level makes images 5 % smaller in twice the time (measured). */
const GZIP_LEVEL = 1;

/** Source and destination of a layer. */
export interface LayerPlace {
  /** A directory, and the path of the layer's file in it. */
  readonly root: string;
  readonly path: string;
  readonly temporary: string;
  readonly compress: 'gzip' | 'none';
  /** False while the layer may still be written: a truncated layer is no damage then. */
  readonly isEndKnown: boolean;
  readonly progress: Progress | undefined;
  readonly budget: ExpansionBudget;
  readonly destination: (digest: Digest) => string;
}

/** Limits how far the compressed layers of one drop may expand together. */
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
      `The layers expand to more than ${EXPANSION_FACTOR_MAX} times their size (at '${path}').`,
      { path },
    );
  }
}

/**
 * @throws digest.mismatch when the layer does not match its config or cannot be decompressed;
 *   archive.truncated when it is incomplete and may still be written; manifest.unsupported for compressions
 *   that clients do not support; limit.exceeded
 */
export function storeLayer(disk: Disk, layer: SavedLayer, place: LayerPlace): Promise<StoredLayer> {
  return InsideDirectory.use(disk, place.root, async (inside) => {
    const file = inside.open(place.path);
    if (file === undefined) {
      throw new DropdockError(
        'content.missing',
        `The layer '${layer.path}' is missing from the drop.`,
        { path: layer.path },
      );
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
  // Clients support only these two compressions for layers.
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

/** Stores the layer unchanged and checks its decompressed content. */
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

/** Turns an error of the compressed data into one about the layer. */
function ofLayer(error: unknown, { path, diffId }: SavedLayer, isEndKnown: boolean): unknown {
  if (!(error instanceof DropdockError)) return error;
  const { code, message } = error;
  if (code !== 'archive.truncated' && code !== 'archive.damaged') return error;
  if (code === 'archive.truncated' && !isEndKnown) return cutShort(path);
  return new DropdockError(
    'digest.mismatch',
    `Cannot decompress the layer '${path}'. ${message}`,
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
      `The layer '${layer.path}' is compressed with ${other}, which clients do not support.`,
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
  return new DropdockError('archive.truncated', `The layer '${path}' is truncated.`, { path });
}

/** @throws digest.mismatch */
function checkDiffId({ path, diffId }: SavedLayer, hex: string): void {
  const found = `${digestAlgorithm(diffId)}:${hex}`;
  if (found === diffId) return;
  throw new DropdockError(
    'digest.mismatch',
    `The content of the layer '${path}' does not match diff_ids in its config.`,
    { path, digest: diffId, found },
  );
}

/**
 * The name of a file in a layout's `blobs` must be its digest.
 * @throws digest.mismatch
 */
function checkName({ path }: SavedLayer, found: Digest): void {
  const hex = /^blobs\/sha256\/([0-9a-f]{64})$/.exec(path)?.[1];
  if (hex === undefined || found === `sha256:${hex}`) return;
  throw new DropdockError('digest.mismatch', `The content of '${path}' does not match its name.`, {
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
    // fflate keeps its input for a while, so each piece needs its own memory.
    const buffer = Buffer.allocUnsafe(Math.min(READ_CHUNK_BYTES, size - at));
    const count = disk.read(fd, buffer, buffer.length, offset + at);
    if (count === 0) {
      throw new DropdockError('archive.truncated', 'The archive is truncated within a layer.', {});
    }
    at += count;
    addProgress(progress, count);
    yield buffer.subarray(0, count);
  }
}
