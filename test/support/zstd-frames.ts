/** Zstandard frames written by hand (RFC 8878) with uncompressed blocks, so that no tool is needed. */
import xxhash from 'xxhash-wasm';

const { create64 } = await xxhash();

export interface ZstdFrameOptions {
  readonly checksum?: boolean;
  /** Bytes of each block; the standard allows 128 KiB. */
  readonly blockBytes?: number;
  /** The exponent of the window: 10 is 1 KiB. */
  readonly windowLog?: number;
  /** Says the length of the content, true or not. */
  readonly contentBytes?: number;
}

export function zstdFrame(
  content: Buffer,
  { checksum = true, blockBytes = 1000, windowLog = 17, contentBytes }: ZstdFrameOptions = {},
): Buffer {
  const header = Buffer.alloc(contentBytes === undefined ? 6 : 10);
  header.writeUInt32LE(0xfd2fb528, 0);
  header.writeUInt8((checksum ? 4 : 0) | (contentBytes === undefined ? 0 : 0x80), 4);
  header.writeUInt8((windowLog - 10) << 3, 5);
  if (contentBytes !== undefined) header.writeUInt32LE(contentBytes, 6);
  const blocks: Buffer[] = [];
  for (let at = 0; at === 0 || at < content.length; at += blockBytes) {
    const part = content.subarray(at, at + blockBytes);
    const isLast = at + blockBytes >= content.length;
    blocks.push(blockHeader(part.length, 0, isLast), part);
  }
  return Buffer.concat([header, ...blocks, ...(checksum ? [checksumOf(content)] : [])]);
}

/** One byte many times over: a few bytes that expand to as many as one likes. */
export function zstdRepeated(blocks: number): Buffer {
  const header = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0, (17 - 10) << 3]);
  const block = (isLast: boolean) => [blockHeader(128 * 1024, 1, isLast), Buffer.from([0])];
  const all = Array.from({ length: blocks }, (_, at) => block(at === blocks - 1)).flat();
  return Buffer.concat([header, ...all]);
}

export function skippableFrame(content: Buffer): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt32LE(0x184d2a5e, 0);
  header.writeUInt32LE(content.length, 4);
  return Buffer.concat([header, content]);
}

function blockHeader(size: number, type: 0 | 1, isLast: boolean): Buffer {
  const header = Buffer.alloc(3);
  header.writeUIntLE((size << 3) | (type << 1) | (isLast ? 1 : 0), 0, 3);
  return header;
}

function checksumOf(content: Buffer): Buffer {
  const sum = Buffer.alloc(4);
  sum.writeUInt32LE(Number(create64().update(content).digest() & 0xffffffffn), 0);
  return sum;
}
