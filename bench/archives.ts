/** Creates archives like `docker save` (since version 25): an OCI layout and a manifest.json in one tar. */
import { createHash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { constants, crc32, deflateRawSync } from 'node:zlib';
import type { Layer } from './layers.js';
import { type Image, image, indexOf, sha256 } from './layout.js';
import { tarHeader, tarPadding } from './tar.js';

export interface Archive {
  readonly path: string;
  readonly image: Image;
  /** Size of the tar, without gzip. */
  readonly bytes: number;
}

/** A piece of a layer, repeated until the layer has its size. */
interface Piece {
  readonly bytes: Buffer;
  /** The compressed bytes, without references to earlier bytes. */
  readonly deflated: Buffer | undefined;
}

const PIECE_BYTES = 8 * 1024 * 1024;
const LAYERS = 8;
const LEVEL = 6;

/** @param bytes total size of all layers, a multiple of 64 MiB */
export async function makeArchive(
  path: string,
  { bytes, gzip }: { bytes: number; gzip: boolean },
): Promise<Archive> {
  const times = bytes / LAYERS / PIECE_BYTES;
  const pieces = Array.from({ length: LAYERS }, (_none, at) => piece(`layer ${at}`, gzip));
  const layers = pieces.map(({ bytes: of }): Layer => {
    const hash = createHash('sha256');
    for (let at = 0; at < times; at++) hash.update(of);
    const digest = `sha256:${hash.digest('hex')}`;
    return { path: '', digest, diffId: digest, size: of.length * times };
  });
  const saved = image(layers, 'archive', 'tar');
  const out = new Out(await open(path, 'wx', 0o644), gzip);
  await out.begin();
  const entry = async (name: string, of: Buffer) => {
    await out.write(Buffer.concat([tarHeader(name, of.length), of, tarPadding(of.length)]));
  };
  const place = (digest: string) => `blobs/sha256/${digest.slice(7)}`;
  for (const [at, layer] of layers.entries()) {
    await out.write(tarHeader(place(layer.digest), layer.size));
    const of = pieces[at];
    for (let turn = 0; of && turn < times; turn++) await out.write(of.bytes, of.deflated);
  }
  for (const { digest, bytes: of } of [saved.config, saved.manifest])
    await entry(place(digest), of);
  await entry('index.json', Buffer.from(indexOf([{ image: saved, tag: '1.0' }])));
  const list = [
    {
      Config: place(saved.config.digest),
      RepoTags: ['app:1.0'],
      Layers: layers.map(({ digest }) => place(digest)),
    },
  ];
  await entry('manifest.json', Buffer.from(JSON.stringify(list)));
  await entry('oci-layout', Buffer.from('{"imageLayoutVersion":"1.0.0"}'));
  await out.write(Buffer.alloc(1024));
  await out.end();
  return { path, image: saved, bytes: out.size };
}

/** Text that compresses about threefold, like programs. */
function piece(seed: string, gzip: boolean): Piece {
  const bytes = Buffer.alloc(PIECE_BYTES);
  let word = sha256(seed);
  for (let at = 0; at < PIECE_BYTES; at += 64) {
    if (at % 128 === 0) word = sha256(word);
    bytes.write(`${word.slice(7, 40)} ${word.slice(20, 50)}`, at);
  }
  return { bytes, deflated: gzip ? deflate(bytes) : undefined };
}

/** A full flush resets the compressor, so pieces can be concatenated in any number. */
const deflate = (bytes: Buffer) =>
  deflateRawSync(bytes, { level: LEVEL, finishFlush: constants.Z_FULL_FLUSH });

class Out {
  size = 0;
  #crc = 0;

  constructor(
    readonly file: FileHandle,
    readonly gzip: boolean,
  ) {}

  async begin(): Promise<void> {
    if (this.gzip) await this.file.write(Buffer.from([31, 139, 8, 0, 0, 0, 0, 0, 0, 255]));
  }

  async write(bytes: Buffer, deflated?: Buffer): Promise<void> {
    this.size += bytes.length;
    if (!this.gzip) {
      await this.file.write(bytes);
      return;
    }
    this.#crc = crc32(bytes, this.#crc);
    await this.file.write(deflated ?? deflate(bytes));
  }

  async end(): Promise<void> {
    if (this.gzip) {
      const trailer = Buffer.alloc(8);
      trailer.writeUInt32LE(this.#crc, 0);
      trailer.writeUInt32LE(this.size % 2 ** 32, 4);
      await this.file.write(Buffer.concat([deflateRawSync(Buffer.alloc(0)), trailer]));
    }
    await this.file.sync();
    await this.file.close();
  }
}
