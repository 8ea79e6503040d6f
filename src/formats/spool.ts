/**
 * A compressed archive can only be read from beginning to end. This is done once: possible content is hashed
 * while it is written to the work area, and is moved into the store from there.
 */
import { createHash, type Hash } from 'node:crypto';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { ReadableStream } from 'node:stream/web';
import { createGunzip } from 'node:zlib';
import { Decompress, ZstdErrorCode } from 'fzstd';
import xz from 'xz-decompress';
import { DropdockError, isSystemError } from '../errors.js';
import { type Digest, digestFrom } from '../image/digest.js';
import { EXPANSION_BYTES_FREE, EXPANSION_FACTOR_MAX, READ_CHUNK_BYTES } from '../image/limits.js';
import type { Disk } from '../storage/disk.js';
import { discard, ensureDirectory, readFile, writeAll } from '../storage/durable.js';
import { addProgress, type Progress } from '../storage/progress.js';
import { STORED_MODE } from '../storage/stored.js';
import type { Bundle } from './file-source.js';
import { truncated } from './tar-bundle.js';
import { padded, TAR_BLOCK, type TarEntry, TarHeaders } from './tar-headers.js';

export type Compression = 'gzip' | 'zstd' | 'xz';

interface Spooled {
  readonly path: string;
  readonly size: number;
  readonly digest: Digest;
}

export interface SpoolOptions {
  /** Directory for the members. */
  readonly directory: string;
  /** Counts the compressed bytes that were read. */
  readonly progress: Progress | undefined;
}

/** @throws archive.truncated, archive.damaged, limit.exceeded; errors of TarHeaders */
export async function openSpooledBundle(
  disk: Disk,
  fd: number,
  compression: Compression,
  { directory, progress: watched }: SpoolOptions,
): Promise<Bundle> {
  ensureDirectory(disk, directory);
  const reader = new SpoolReader(disk, directory);
  const progress = { compressed: 0 };
  const source = Readable.from(fileChunks(disk, fd, progress, watched), { objectMode: false });
  // A pipeline that is destroyed may report only its own end, not the cause.
  let refusal: unknown;
  const consume = async (chunks: AsyncIterable<Buffer>) => {
    for await (const chunk of chunks) {
      try {
        reader.push(chunk);
        limitExpansion(reader.consumed, progress.compressed);
      } catch (error) {
        refusal = error;
        throw error;
      }
    }
  };
  try {
    if (compression === 'gzip') await pipeline(source, createGunzip(), consume);
    else await pipeline(source, compression === 'zstd' ? unzstd : unxz, consume);
  } catch (error) {
    reader.abandon();
    throw explain(refusal ?? error);
  }
  return reader.finish();
}

function* fileChunks(
  disk: Disk,
  fd: number,
  progress: { compressed: number },
  watched: Progress | undefined,
): Generator<Buffer> {
  for (;;) {
    const buffer = Buffer.allocUnsafe(READ_CHUNK_BYTES);
    const count = disk.read(fd, buffer, buffer.length, progress.compressed);
    if (count === 0) return;
    progress.compressed += count;
    addProgress(watched, count);
    yield buffer.subarray(0, count);
  }
}

/** Node 20 has no zstd; fzstd is small, pure JavaScript, and fast enough for a disk. */
async function* unzstd(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const out: Buffer[] = [];
  const decoder = new Decompress((chunk) => {
    out.push(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength));
  });
  for await (const chunk of chunks) {
    pushZstd(decoder, chunk, false);
    yield* out.splice(0);
  }
  pushZstd(decoder, new Uint8Array(0), true);
  yield* out.splice(0);
}

/** xz-decompress is xz-embedded, the decoder of the Linux kernel, as WebAssembly. */
async function* unxz(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of new xz.XzReadableStream(ReadableStream.from(chunks))) {
      yield Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    }
  } catch (error) {
    throw explainXz(error);
  }
}

/** The reason is a number in the message (xz_ret in xz-embedded's xz.h). */
function explainXz(error: unknown): unknown {
  if (error instanceof DropdockError || isSystemError(error)) return error;
  const { message } = error as Error;
  switch (/error code (\d+)$/.exec(message)?.[1]) {
    case '8':
      return truncated(error);
    case '4':
      return unsupportedXz('a dictionary of more than 64 MiB', error);
    case '6':
      return unsupportedXz('a filter or a check that is not supported', error);
    default:
      return damaged(message, error);
  }
}

function unsupportedXz(what: string, cause: unknown): DropdockError {
  const message = `This xz archive uses ${what}; use gzip or zstd, or xz with its defaults.`;
  return new DropdockError('format.unknown', message, { path: '.', found: 'xz' }, cause);
}

/** The decoder only decodes, so every error (a RangeError too) means damaged data. */
function pushZstd(decoder: Decompress, chunk: Uint8Array, isLast: boolean): void {
  try {
    decoder.push(chunk, isLast);
  } catch (cause) {
    const { code, message } = cause as { code?: unknown; message?: string };
    if (code === ZstdErrorCode.UnexpectedEOF) throw truncated(cause);
    throw damaged(message, cause);
  }
}

function damaged(why: string | undefined, cause: unknown): DropdockError {
  return new DropdockError('archive.damaged', `The archive is damaged: ${why}.`, {}, cause);
}

function limitExpansion(expanded: number, compressed: number): void {
  if (expanded <= compressed * EXPANSION_FACTOR_MAX + EXPANSION_BYTES_FREE) return;
  throw new DropdockError(
    'limit.exceeded',
    `The unpacked archive is more than ${EXPANSION_FACTOR_MAX} times larger than the archive.`,
  );
}

/** Translates the codes of zlib; system errors are passed on unchanged. */
function explain(error: unknown): unknown {
  if (error instanceof DropdockError || isSystemError(error)) return error;
  const { code = '', message } = error as { code?: string; message?: string };
  if (code === 'Z_BUF_ERROR') return truncated(error);
  return code.startsWith('Z_') ? damaged(message, error) : error;
}

/** Reads a tar in pieces of any length. */
class SpoolReader {
  consumed = 0;
  readonly #headers = new TarHeaders();
  readonly #members = new Map<string, Spooled>();
  readonly #block = Buffer.alloc(TAR_BLOCK);
  #blockFill = 0;
  #entry: TarEntry | undefined;
  #left = 0;
  #padding = 0;
  #meta: Buffer[] = [];
  #sink: { fd: number; hash: Hash; path: string; at: number } | undefined;
  #zeros = 0;
  #serial = 0;

  constructor(
    readonly disk: Disk,
    readonly directory: string,
  ) {}

  push(chunk: Buffer): void {
    this.consumed += chunk.length;
    let rest = chunk;
    while (rest.length > 0) {
      // Anything may follow the end mark; tools pad to complete records.
      if (this.#zeros >= 2) return;
      rest = rest.subarray(this.#take(rest));
    }
  }

  /** Does not throw; the caller reports the original error. */
  abandon(): void {
    const sink = this.#sink;
    this.#sink = undefined;
    if (sink) discard(() => this.disk.close(sink.fd));
  }

  finish(): Bundle {
    if (this.#zeros < 2) {
      this.abandon();
      throw truncated();
    }
    this.#headers.check();
    const find = (path: string) => this.#members.get(this.#headers.targetOf(path));
    return {
      names: () => [...this.#members.keys()],
      size: (path) => find(path)?.size,
      read: (path, max) => {
        const member = find(path);
        return member && readFile(this.disk, member.path, max);
      },
      source: (path) => {
        const member = find(path);
        return { path: member?.path ?? '', spooled: member?.digest ?? '' };
      },
    };
  }

  /** @returns how many bytes of the piece were used */
  #take(piece: Buffer): number {
    if (this.#entry === undefined) return this.#takeHeader(piece);
    if (this.#left > 0) {
      const used = piece.subarray(0, this.#left);
      this.#body(used);
      this.#left -= used.length;
      if (this.#left === 0) this.#endBody();
      return used.length;
    }
    const used = Math.min(piece.length, this.#padding);
    this.#padding -= used;
    if (this.#padding === 0) this.#entry = undefined;
    return used;
  }

  #takeHeader(piece: Buffer): number {
    const used = piece.copy(this.#block, this.#blockFill);
    this.#blockFill += used;
    if (this.#blockFill < TAR_BLOCK) return used;
    this.#blockFill = 0;
    const entry = this.#headers.next(this.#block);
    if (entry.kind === 'zeros') {
      this.#zeros++;
      return used;
    }
    this.#zeros = 0;
    this.#entry = entry;
    this.#left = entry.size;
    this.#padding = padded(entry.size) - entry.size;
    if (entry.kind === 'file' && !this.#headers.isRefused) this.#openSink();
    if (this.#left === 0) this.#endBody();
    return used;
  }

  #openSink(): void {
    const path = join(this.directory, String(++this.#serial));
    const hash = createHash('sha256');
    this.#sink = { fd: this.disk.open(path, 'create'), hash, path, at: 0 };
  }

  #body(bytes: Buffer): void {
    if (this.#entry?.kind === 'meta') this.#meta.push(Buffer.from(bytes));
    if (!this.#sink) return;
    this.#sink.hash.update(bytes);
    writeAll(this.disk, this.#sink.fd, bytes, this.#sink.at);
    this.#sink.at += bytes.length;
  }

  #endBody(): void {
    const entry = this.#entry;
    if (this.#padding === 0) this.#entry = undefined;
    if (entry?.kind === 'meta') this.#headers.meta(Buffer.concat(this.#meta.splice(0)));
    if (entry?.kind !== 'file' || !this.#sink) return;
    const { fd, hash, path, at } = this.#sink;
    this.disk.setMode(fd, STORED_MODE);
    this.disk.sync(fd);
    // Cleared first, so that it is closed only once even after an error: the fd may be reused by another
    // file.
    this.#sink = undefined;
    this.disk.close(fd);
    const digest = digestFrom('sha256', hash.digest('hex'));
    this.#members.set(entry.path, { path, size: at, digest });
  }
}
