/**
 * Creates layers of any size once for several questions: each is a tar of one file that does not compress, in
 * gzip format (stored, which is fast to create and read by every tool).
 */
import { createCipheriv, createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { createGzip } from 'node:zlib';
import { tarHeader } from './tar.js';

const CHUNK = 1024 * 1024;

export interface Layer {
  readonly path: string;
  readonly digest: string;
  readonly size: number;
  /** Digest of the uncompressed content. */
  readonly diffId: string;
}

export function totalBytes(layers: readonly Layer[]): number {
  return layers.reduce((sum, { size }) => sum + size, 0);
}

/** @param bytes size of the file in each layer; the layers are a little larger */
export async function makeLayers(
  directory: string,
  { count, bytes }: { count: number; bytes: number },
): Promise<Layer[]> {
  const place = join(directory, `layers-${count}x${bytes}`);
  const list = join(place, 'list.json');
  if (existsSync(list)) return JSON.parse(readFileSync(list, 'utf8')) as Layer[];
  mkdirSync(place, { recursive: true });
  const layers: Layer[] = [];
  for (let at = 0; at < count; at++) layers.push(await makeLayer(join(place, String(at)), bytes));
  writeFileSync(list, JSON.stringify(layers));
  return layers;
}

export async function makeLayer(path: string, bytes: number): Promise<Layer> {
  const file = await open(path, 'wx', 0o644);
  const [outer, inner] = [createHash('sha256'), createHash('sha256')];
  const gzip = createGzip({ level: 0, chunkSize: CHUNK });
  const written = (async () => {
    let size = 0;
    for await (const chunk of gzip as AsyncIterable<Buffer>) {
      outer.update(chunk);
      size += chunk.length;
      await file.write(chunk);
    }
    return size;
  })();
  for (const chunk of tarChunks(bytes)) {
    inner.update(chunk);
    if (!gzip.write(chunk)) await new Promise((resolve) => gzip.once('drain', resolve));
  }
  gzip.end();
  const size = await written;
  // The following measurement must not include writing these files.
  await file.sync();
  await file.close();
  const name = (hash: typeof outer) => `sha256:${hash.digest('hex')}`;
  return { path, size, digest: name(outer), diffId: name(inner) };
}

export function* tarChunks(bytes: number): Generator<Buffer> {
  yield tarHeader('data', bytes);
  // As good as random bytes, and many times faster.
  const cipher = createCipheriv('aes-128-ctr', randomBytes(16), randomBytes(16));
  const zeros = Buffer.alloc(CHUNK);
  for (let left = bytes; left > 0; left -= CHUNK) {
    yield cipher.update(left < CHUNK ? zeros.subarray(0, left) : zeros);
  }
  yield Buffer.alloc(((512 - (bytes % 512)) % 512) + 1024);
}

/** Returns the names in a directory, or none if it does not exist. */
export function namesIn(directory: string): string[] {
  return existsSync(directory) ? readdirSync(directory) : [];
}
