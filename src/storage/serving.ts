/**
 * Reading the published tree for clients, from the event loop: asynchronous, read only, and never
 * through a link but the pivot that the caller has resolved. An open file stays what it is, whatever
 * is flipped or cleaned meanwhile.
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
 * What is read at once for one client, and the most that a slow one holds. Measured with 16 clients
 * from 64 KiB to 1 MiB: this sends 2.4 times as much as 64 KiB, and 1 MiB no more than this. A second
 * buffer to read ahead made it slower: what the kernel keeps for the socket is one already.
 */
const PIECE_BYTES = 512 * 1024;
const READ_FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/** A link's target; undefined where there is none. */
export async function readLink(path: string): Promise<string | undefined> {
  return orUndefined(readlink(path), 'EINVAL');
}

/** A whole small file; undefined where there is none, or one that is longer than `max`. */
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

/** The names in a directory that do not begin with a dot; none where it does not exist. */
export async function listVisible(path: string): Promise<string[]> {
  const names = (await orUndefined(readdir(path))) ?? [];
  return names.filter((name) => !name.startsWith('.'));
}

/** Differs when a file was replaced or rewritten; undefined where there is none. Follows links. */
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

/** A settings-like file, links followed: a certificate, a list of passwords. @throws ENOENT */
export function readConfigured(path: string): Promise<Buffer> {
  return readFile(path);
}

/** A regular file that was opened for one client. Whoever opened it closes it or takes its pieces. */
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
   * Each part from `start` to `end`, both inclusive, as far as the file goes; no piece belongs to two
   * parts. All pieces lie in one buffer, for new memory for each costs more than reading it: be done
   * with one before asking for the next. Closes the file when it ends or nobody asks any more.
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

/** Undefined where there is no regular file. */
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

/** Removes a socket that a process left behind when it died: nobody answers on it. */
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
