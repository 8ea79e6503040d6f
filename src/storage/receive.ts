/** Writes a stream to a temporary file: an archive from standard input. */
import fs from 'node:fs';
import { join } from 'node:path';

import { pipeline } from 'node:stream/promises';
import type { Disk } from './disk.js';
import { job } from './job.js';

/** @param onBytes called with the size of each piece received */
export async function receiveStream(
  stream: NodeJS.ReadableStream,
  path: string,
  onBytes: (count: number) => void,
): Promise<void> {
  stream.on('data', (chunk: Buffer) => onBytes(chunk.length));
  await pipeline(stream, fs.createWriteStream(path, { flags: 'wx', mode: 0o600 }));
}

/** Returns the bytes of a file, or of all files below a directory; used for progress. */
export function bytesBelow(path: string): number {
  const stat = fs.lstatSync(path);
  if (!stat.isDirectory()) return stat.size;
  return fs
    .readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + fs.lstatSync(join(entry.parentPath, entry.name)).size, 0);
}

/** Same as `bytesBelow`, as a job. */
export const dropBytes = job(
  'background',
  import.meta.url,
  function dropBytes(_disk: Disk, { path }: { readonly path: string }): number {
    return bytesBelow(path);
  },
);
