/** Writes the file of keys that tokens are signed with. */
import { randomBytes } from 'node:crypto';
import { dirname, join } from 'node:path';
import { hasErrno } from '../errors.js';
import type { Disk } from '../storage/disk.js';
import {
  ensureDirectory,
  listIfThere,
  readFile,
  removeIfThere,
  syncDirectory,
  withOpen,
  writeAll,
} from '../storage/durable.js';
import { job } from '../storage/job.js';
import { isRotationDue, parseTokenKeys, withNewKey } from './token-keys.js';

export interface TokenKeyRequest {
  readonly path: string;
  /** Milliseconds since the epoch. */
  readonly nowMs: number;
}

const FILE_BYTES_MAX = 64 * 1024;
/** What a process that died left beside the file. */
const LEFTOVER_MS = 3600_000;

/**
 * Makes the file of keys, or puts a new key into it, unless another process has done so meanwhile. The
 * file appears whole, and at no moment anybody else can read it: its directory is its owner's alone.
 */
export const makeTokenKey = job(
  'fast',
  import.meta.url,
  function makeTokenKey(disk: Disk, { path, nowMs }: TokenKeyRequest): void {
    const directory = dirname(path);
    ensureDirectory(disk, directory, 0o700);
    const before = disk.statIfThere(path) && readFile(disk, path, FILE_BYTES_MAX).toString('utf8');
    if (before !== undefined && !isRotationDue(parseTokenKeys(before).keys, nowMs)) return;
    const temporary = `${path}.${randomBytes(8).toString('hex')}`;
    removeLeftovers(disk, directory, nowMs);
    withOpen(disk, temporary, 'create', (fd) => {
      // Before there is anything in it.
      disk.setMode(fd, 0o600);
      writeAll(disk, fd, Buffer.from(withNewKey(before ?? '', nowMs)), 0);
      disk.sync(fd);
    });
    try {
      if (before === undefined) linkUnlessThere(disk, temporary, path);
      // Two at once: the later one's key counts. A new key signs nothing for a while, so nothing is lost.
      else disk.rename(temporary, path);
    } finally {
      removeIfThere(disk, temporary);
    }
    syncDirectory(disk, directory);
  },
);

/** Of several that make the first file at once, all use the one that was there first. */
function linkUnlessThere(disk: Disk, from: string, path: string): void {
  try {
    disk.link(from, path);
  } catch (error) {
    if (!hasErrno(error, 'EEXIST')) throw error;
  }
}

function removeLeftovers(disk: Disk, directory: string, nowMs: number): void {
  for (const { name } of listIfThere(disk, directory)) {
    const path = join(directory, name);
    const stat = /\.[0-9a-f]{16}$/.test(name) ? disk.statIfThere(path) : undefined;
    if (stat !== undefined && nowMs - stat.mtimeMs > LEFTOVER_MS) removeIfThere(disk, path);
  }
}
