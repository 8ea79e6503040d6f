/** A plain tar. Its members are found by their headers, without reading their content. */

import { DropdockError } from '../errors.js';
import type { Disk } from '../storage/disk.js';
import type { Bundle } from './file-source.js';
import { padded, TAR_BLOCK, TarHeaders } from './tar-headers.js';

interface Member {
  /** Where the member's bytes begin in the archive. */
  readonly offset: number;
  readonly size: number;
}

export interface TarBundle extends Bundle {
  /** Bytes after the end mark. */
  readonly restBytes: number;
}

/**
 * @throws archive.truncated if the end mark or the end of a member is missing; errors of TarHeaders
 */
export function openTarBundle(disk: Disk, fd: number, archive: string): TarBundle {
  const { members, headers, restBytes } = indexTar(disk, fd);
  const find = (path: string) => members.get(headers.targetOf(path));
  return {
    restBytes,
    names: () => [...members.keys()],
    size: (path) => find(path)?.size,
    read: (path, max) => {
      const member = find(path);
      if (member === undefined) return undefined;
      if (member.size > max) {
        throw new DropdockError('limit.exceeded', `${path} is longer than ${max} bytes.`, { path });
      }
      return readExactly(disk, fd, member.size, member.offset);
    },
    source: (path) => ({ path: archive, offset: find(path)?.offset ?? 0 }),
  };
}

function indexTar(
  disk: Disk,
  fd: number,
): { members: Map<string, Member>; headers: TarHeaders; restBytes: number } {
  const { size: end } = disk.statOpen(fd);
  const headers = new TarHeaders();
  const members = new Map<string, Member>();
  let at = 0;
  let zeros = 0;
  while (zeros < 2) {
    const entry = headers.next(readExactly(disk, fd, TAR_BLOCK, at));
    at += TAR_BLOCK;
    if (entry.kind === 'zeros') {
      zeros++;
      continue;
    }
    zeros = 0;
    if (entry.kind === 'meta') headers.meta(readExactly(disk, fd, entry.size, at));
    // Of several members with the same name the last one counts, as for every tool that unpacks.
    else if (entry.kind === 'file') members.set(entry.path, { offset: at, size: entry.size });
    at += padded(entry.size);
    if (at > end) throw truncated();
  }
  headers.check();
  return { members, headers, restBytes: end - at };
}

function readExactly(disk: Disk, fd: number, size: number, position: number): Buffer {
  const buffer = Buffer.allocUnsafe(size);
  for (let at = 0; at < size; ) {
    const count = disk.read(fd, buffer.subarray(at), size - at, position + at);
    if (count === 0) throw truncated();
    at += count;
  }
  return buffer;
}

export function truncated(cause?: unknown): DropdockError {
  return new DropdockError('archive.truncated', 'The archive ends before its end mark.', {}, cause);
}
