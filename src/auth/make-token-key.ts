/** Writes the file of token signing keys. */
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
/** The age after which a temporary file of a dead process is deleted. */
const LEFTOVER_MS = 3600_000;

/**
 * Creates the key file, or adds a new key to it, unless another process has done so already. The file appears
 * complete, and no other user can ever read it: only the owner has access to its directory.
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
      // Set before any content is written.
      disk.setMode(fd, 0o600);
      writeAll(disk, fd, Buffer.from(withNewKey(before ?? '', nowMs)), 0);
      disk.sync(fd);
    });
    try {
      if (before === undefined) linkUnlessThere(disk, temporary, path);
      // If two processes add a key at once, the later one wins. A new key is not used for signing at first,
      // so no token becomes invalid.
      else disk.rename(temporary, path);
    } finally {
      removeIfThere(disk, temporary);
    }
    syncDirectory(disk, directory);
  },
);

/** If several processes create the file at once, all use the first one. */
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
