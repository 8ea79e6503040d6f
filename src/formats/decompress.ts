/**
 * Unpacks the compressed layers inside a docker-archive; compressed archives are unpacked by spool.ts. Unpacks
 * gzip and zstd completely, as strictly as the strictest client: every checksum is compared, and nothing may
 * follow the last member or frame. Some clients ignore bytes after the end or a zstd checksum, but others
 * refuse such an image.
 */
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { Decompress } from 'fzstd';
import xxhash, { type XXHash } from 'xxhash-wasm';
import { DropdockError, isSystemError } from '../errors.js';
import { ZSTD_WINDOW_BYTES_MAX } from '../image/limits.js';

/** The compressions that clients support. */
export type LayerCompression = 'gzip' | 'zstd';

/**
 * Passes the unpacked bytes to `use`, piece by piece; errors of `use` are passed on.
 * @throws archive.truncated, archive.damaged, limit.exceeded
 */
export async function decompress(
  source: Iterable<Buffer>,
  compression: LayerCompression,
  use: (unpacked: Uint8Array) => void,
): Promise<void> {
  if (compression === 'gzip') await gunzip(source, use);
  else await unzstd(source, use);
}

async function gunzip(
  source: Iterable<Buffer>,
  use: (unpacked: Uint8Array) => void,
): Promise<void> {
  let packedBytes = 0;
  const counted = function* () {
    for (const chunk of source) {
      packedBytes += chunk.length;
      yield chunk;
    }
  };
  const gunzip = createGunzip();
  // A pipeline that is destroyed may report only its own end, not the cause.
  let refusal: unknown;
  const consume = async (chunks: AsyncIterable<Buffer>) => {
    for await (const chunk of chunks) {
      try {
        use(chunk);
      } catch (error) {
        refusal = error;
        throw error;
      }
    }
  };
  try {
    await pipeline(Readable.from(counted(), { objectMode: false }), gunzip, consume);
  } catch (error) {
    throw refusal ?? explainZlib(error);
  }
  // zlib stops at a zero byte after the last member.
  if (gunzip.bytesWritten < packedBytes)
    throw damaged('there are bytes after the end of the gzip data');
}

function explainZlib(error: unknown): unknown {
  if (error instanceof DropdockError || isSystemError(error)) return error;
  const { code = '', message } = error as { code?: string; message?: string };
  if (code === 'Z_BUF_ERROR') return cutShort(error);
  return code.startsWith('Z_') || code.startsWith('ERR_STREAM') ? damaged(message, error) : error;
}

let loading: Promise<{ create64: () => XXHash<bigint> }> | undefined;

async function unzstd(
  source: Iterable<Buffer>,
  use: (unpacked: Uint8Array) => void,
): Promise<void> {
  loading ??= xxhash();
  const { create64 } = await loading;
  const reader = new ZstdReader(create64, use);
  for (const chunk of source) reader.push(chunk);
  reader.end();
}

const FRAME_MAGIC = 0xfd2fb528;
/** Any value is allowed in the last four bits: RFC 8878, "Skippable Frames". */
const SKIPPABLE_MAGIC = 0x184d2a50;
const BLOCK_HEADER_BYTES = 3;
const CHECKSUM_BYTES = 4;

type ZstdPart =
  /** Both kinds of frame begin with four bytes that identify the kind. */
  'magic' | 'skippable length' | 'descriptor' | 'frame header' | 'block header' | 'checksum';

/**
 * Reads the frames of zstd data (RFC 8878, section 3), because fzstd checks neither checksums nor lengths.
 * Each frame gets its own decoder.
 */
class ZstdReader {
  #part: ZstdPart = 'magic';
  /** Collects a small part until it is complete. */
  #gathered: Buffer = Buffer.alloc(0);
  #wanted = 4;
  /** Remaining bytes of a block or a skippable frame. */
  #body = 0;
  #isSkipping = false;
  #isLastBlock = false;
  #hasChecksum = false;
  #frame: ZstdFrame | undefined;

  constructor(
    readonly create64: () => XXHash<bigint>,
    readonly use: (unpacked: Uint8Array) => void,
  ) {}

  /** @throws archive.damaged, limit.exceeded */
  push(chunk: Buffer): void {
    for (let rest = chunk; rest.length > 0; ) {
      const used = this.#body > 0 ? this.#passBody(rest) : this.#gather(rest);
      rest = rest.subarray(used);
    }
  }

  /** @throws archive.truncated */
  end(): void {
    const isAtEnd = this.#part === 'magic' && this.#gathered.length === 0 && this.#body === 0;
    if (!isAtEnd) throw cutShort();
  }

  #passBody(bytes: Buffer): number {
    const part = bytes.subarray(0, this.#body);
    this.#body -= part.length;
    if (!this.#isSkipping) this.#frame?.push(part);
    if (this.#body === 0) this.#endBody();
    return part.length;
  }

  #endBody(): void {
    if (this.#isSkipping) this.#expect('magic', 4);
    else if (!this.#isLastBlock) this.#expect('block header', BLOCK_HEADER_BYTES);
    else if (this.#hasChecksum) this.#expect('checksum', CHECKSUM_BYTES);
    else this.#endFrame();
  }

  #expect(part: ZstdPart, bytes: number): void {
    this.#part = part;
    this.#wanted = bytes;
    this.#gathered = Buffer.alloc(0);
    this.#isSkipping = false;
  }

  #gather(bytes: Buffer): number {
    const part = bytes.subarray(0, this.#wanted - this.#gathered.length);
    this.#gathered = Buffer.concat([this.#gathered, part]);
    if (this.#gathered.length === this.#wanted) this.#take(this.#gathered);
    return part.length;
  }

  #take(bytes: Buffer): void {
    switch (this.#part) {
      case 'magic':
        this.#takeMagic(bytes);
        break;
      case 'skippable length':
        this.#isSkipping = true;
        this.#body = bytes.readUInt32LE(0);
        if (this.#body === 0) this.#endBody();
        break;
      case 'descriptor': {
        const descriptor = bytes.readUInt8(4);
        this.#hasChecksum = (descriptor & 4) !== 0;
        this.#part = 'frame header';
        this.#wanted = bytes.length + fieldsBytes(descriptor);
        break;
      }
      case 'frame header':
        this.#frame = new ZstdFrame(
          bytes,
          this.#hasChecksum ? this.create64() : undefined,
          this.use,
        );
        this.#expect('block header', BLOCK_HEADER_BYTES);
        break;
      case 'block header':
        this.#takeBlockHeader(bytes);
        break;
      case 'checksum':
        this.#frame?.check(bytes);
        this.#endFrame();
        break;
    }
  }

  #takeMagic(bytes: Buffer): void {
    const magic = bytes.readUInt32LE(0);
    if ((magic & 0xfffffff0) === SKIPPABLE_MAGIC) {
      this.#expect('skippable length', 4);
    } else if (magic === FRAME_MAGIC) {
      // The decoder needs the magic number too.
      this.#part = 'descriptor';
      this.#wanted = 5;
    } else throw damaged('the next bytes are not a zstd frame');
  }

  #takeBlockHeader(bytes: Buffer): void {
    const header = bytes.readUIntLE(0, BLOCK_HEADER_BYTES);
    const [isRepeated, isReserved] = [((header >> 1) & 3) === 1, ((header >> 1) & 3) === 3];
    if (isReserved) throw damaged('a block has a reserved type');
    this.#isLastBlock = (header & 1) !== 0;
    this.#body = isRepeated ? 1 : header >> 3;
    this.#frame?.push(bytes);
    if (this.#body === 0) this.#endBody();
  }

  #endFrame(): void {
    this.#frame?.end();
    this.#frame = undefined;
    this.#expect('magic', 4);
  }
}

/** Returns the length of window, dictionary and content size after the descriptor: RFC 8878, 3.1.1.1. */
function fieldsBytes(descriptor: number): number {
  const isSingleSegment = (descriptor & 0x20) !== 0;
  const dictionary = [0, 1, 2, 4][descriptor & 3] ?? 0;
  return (isSingleSegment ? 0 : 1) + dictionary + lengthBytes(descriptor);
}

function lengthBytes(descriptor: number): number {
  const isSingleSegment = (descriptor & 0x20) !== 0;
  return [isSingleSegment ? 1 : 0, 2, 4, 8][descriptor >> 6] ?? 0;
}

class ZstdFrame {
  readonly #decoder: Decompress;
  /** Undefined for a frame without a checksum. */
  readonly #sum: XXHash<bigint> | undefined;
  readonly #expectedBytes: bigint | undefined;
  #bytes = 0n;
  #refusal: unknown;

  constructor(
    header: Buffer,
    sum: XXHash<bigint> | undefined,
    use: (unpacked: Uint8Array) => void,
  ) {
    this.#sum = sum;
    this.#expectedBytes = contentBytes(header);
    limitWindow(header, this.#expectedBytes);
    this.#decoder = new Decompress((unpacked) => {
      // Not a copy: the decoder reuses this memory, so `use` must not keep the piece.
      const piece = Buffer.from(unpacked.buffer, unpacked.byteOffset, unpacked.byteLength);
      this.#bytes += BigInt(piece.length);
      this.#sum?.update(piece);
      try {
        use(piece);
      } catch (error) {
        this.#refusal = error;
        throw error;
      }
    });
    // The checksum is compared here, so the header for the decoder says that there is none.
    const plain = Buffer.from(header);
    plain.writeUInt8(header.readUInt8(4) & ~4, 4);
    this.push(plain);
  }

  push(bytes: Uint8Array, isLast = false): void {
    try {
      this.#decoder.push(bytes, isLast);
    } catch (cause) {
      // The decoder only decodes, so every error (a RangeError too) means damaged data.
      throw this.#refusal ?? damaged((cause as Error).message, cause);
    }
  }

  /** @throws archive.damaged */
  end(): void {
    this.push(new Uint8Array(0), true);
    if (this.#expectedBytes !== undefined && this.#expectedBytes !== this.#bytes) {
      throw damaged(`a frame unpacks to ${this.#bytes} bytes instead of ${this.#expectedBytes}`);
    }
  }

  /** @throws archive.damaged */
  check(checksum: Buffer): void {
    // Flushes bytes that the decoder still buffers for a very small frame.
    this.push(new Uint8Array(0), true);
    if (this.#sum === undefined) return;
    const found = Number(this.#sum.digest() & 0xffffffffn);
    if (found !== checksum.readUInt32LE(0)) throw damaged('a checksum is wrong');
  }
}

/** Returns the unpacked length from the frame header; undefined if it has none. */
function contentBytes(header: Buffer): bigint | undefined {
  const bytes = lengthBytes(header.readUInt8(4));
  const at = header.length - bytes;
  if (bytes === 0) return undefined;
  if (bytes === 8) return header.readBigUInt64LE(at);
  return BigInt(header.readUIntLE(at, bytes)) + (bytes === 2 ? 256n : 0n);
}

/** The decoder allocates as much memory at once as the header asks for. @throws limit.exceeded */
function limitWindow(header: Buffer, content: bigint | undefined): void {
  const isSingleSegment = (header.readUInt8(4) & 0x20) !== 0;
  const described = header.readUInt8(5);
  const base = 2 ** (10 + (described >> 3));
  const window = isSingleSegment ? Number(content) : base + (base / 8) * (described & 7);
  if (window <= ZSTD_WINDOW_BYTES_MAX) return;
  throw new DropdockError(
    'limit.exceeded',
    `A zstd frame needs a window of ${window} bytes; the limit is ${ZSTD_WINDOW_BYTES_MAX}.`,
  );
}

function cutShort(cause?: unknown): DropdockError {
  return new DropdockError('archive.truncated', 'The compressed data ends too early.', {}, cause);
}

function damaged(why: string | undefined, cause?: unknown): DropdockError {
  return new DropdockError('archive.damaged', `The compressed data is damaged: ${why}.`, {}, cause);
}
