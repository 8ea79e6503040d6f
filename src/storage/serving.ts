/**
 * Reads the published tree for clients, from the event loop: asynchronous, read-only, and without following
 * links except the pivot, which the caller has resolved. An open file stays valid through flips and
 * cleanings.
 */
import { constants } from 'node:fs';
import {
  type FileHandle,
  lstat,
  open,
  readdir,
  readFile,
  readlink,
  unlink,
} from 'node:fs/promises';
import { connect } from 'node:net';
import { hasErrno } from '../errors.js';

/**
 * Size of one read, and the most memory a slow client holds. Measured with 16 clients from 64 KiB to 1 MiB:
 * it is 2.4 times as fast as 64 KiB, and 1 MiB is no faster. A second buffer to read ahead was slower: the
 * socket buffer of the kernel already does that.
 */
const PIECE_BYTES = 512 * 1024;
const READ_FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/** Returns the target of a link; undefined when there is none. */
export async function readLink(path: string): Promise<string | undefined> {
  return orUndefined(readlink(path), 'EINVAL');
}

/** Returns a whole small file; undefined when there is none, or it is longer than `max`. */
export async function readSmall(path: string, max: number): Promise<Buffer | undefined> {
  const file = await openFile(path);
  if (file === undefined) return undefined;
  try {
    return file.size > max ? undefined : await file.readAll();
  } finally {
    await file.close();
  }
}

export async function exists(path: string): Promise<boolean> {
  return (await orUndefined(lstat(path))) !== undefined;
}

/** Returns the names in a directory that do not begin with a dot; none when it does not exist. */
export async function listVisible(path: string): Promise<string[]> {
  const names = (await orUndefined(readdir(path))) ?? [];
  return names.filter((name) => !name.startsWith('.'));
}

/**
 * Returns a value that changes when the file is replaced or rewritten; undefined when there is none. Follows
 * links.
 */
export async function fileVersion(path: string): Promise<string | undefined> {
  const handle = await orUndefined(open(path, 'r'));
  if (handle === undefined) return undefined;
  try {
    const { dev, ino, size, mtimeMs, ctimeMs } = await handle.stat();
    return [dev, ino, size, mtimeMs, ctimeMs].join('-');
  } finally {
    await handle.close();
  }
}

/**
 * Reads a configuration file, following links: a certificate, a password file.
 * @throws ENOENT
 */
export function readConfigured(path: string): Promise<Buffer> {
  return readFile(path);
}

/** A regular file opened for one client. The caller closes it or reads it with `pieces`. */
export class OpenFile {
  constructor(
    readonly handle: FileHandle,
    /** Bytes. */
    readonly size: number,
  ) {}

  readAll(): Promise<Buffer> {
    return this.handle.readFile();
  }

  /**
   * Yields each part from `start` to `end`, both inclusive, as far as the file goes. No piece spans two
   * parts. All pieces share one buffer, because allocating memory costs more than reading: use a piece before
   * asking for the next. Closes the file at the end, or when the caller stops.
   */
  async *pieces(...parts: readonly { readonly start: number; readonly end: number }[]) {
    try {
      const longest = parts.reduce((most, { start, end }) => Math.max(most, end - start + 1), 0);
      const buffer = Buffer.allocUnsafeSlow(Math.min(PIECE_BYTES, longest));
      for (const { start, end } of parts) {
        let position = start;
        while (position <= end) {
          const wanted = Math.min(buffer.length, end - position + 1);
          const { bytesRead } = await this.handle.read(buffer, 0, wanted, position);
          if (bytesRead === 0) return;
          position += bytesRead;
          yield buffer.subarray(0, bytesRead);
        }
      }
    } finally {
      await this.handle.close();
    }
  }

  close(): Promise<void> {
    return this.handle.close();
  }
}

/** Returns undefined when there is no regular file. */
export async function openFile(path: string): Promise<OpenFile | undefined> {
  const handle = await orUndefined(open(path, READ_FLAGS), 'ELOOP', 'ENXIO', 'EISDIR');
  if (handle === undefined) return undefined;
  try {
    const stat = await handle.stat();
    if (stat.isFile()) return new OpenFile(handle, stat.size);
  } catch (error) {
    await handle.close();
    throw error;
  }
  await handle.close();
  return undefined;
}

/** Deletes a socket that a dead process left behind, if no process answers on it. */
export async function removeDeadSocket(path: string): Promise<void> {
  const stat = await orUndefined(lstat(path));
  if (!stat?.isSocket()) return;
  const isDead = await new Promise<boolean>((resolve) => {
    const socket = connect(path, () => {
      socket.destroy();
      resolve(false);
    });
    socket.on('error', (error) => resolve(hasErrno(error, 'ECONNREFUSED')));
  });
  if (isDead) await orUndefined(unlink(path));
}

async function orUndefined<T>(
  promise: Promise<T>,
  ...alsoAbsent: readonly string[]
): Promise<T | undefined> {
  try {
    return await promise;
  } catch (error) {
    if (hasErrno(error, 'ENOENT', 'ENOTDIR', 'ENAMETOOLONG', ...alsoAbsent)) return undefined;
    throw error;
  }
}
