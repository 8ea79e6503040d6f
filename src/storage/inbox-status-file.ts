/**
 * The inbox status of a daemon, as a file for `dropdock status`, which then needs no connection to the
 * daemon. Nothing depends on these files, so they are not synced.
 */
import { join } from 'node:path';
import { hasErrno } from '../errors.js';
import type { Disk } from './disk.js';
import {
  ensureDirectory,
  listIfThere,
  readFile,
  removeIfThere,
  withOpen,
  writeAll,
} from './durable.js';
import { job } from './job.js';
import { inboxStatusDirectory, type TreeRoots } from './tree-paths.js';

export interface InboxStatusFile {
  readonly owner: string;
  readonly text: string;
}

const BOARD_BYTES_MAX = 16 * 1024 * 1024;

export const writeInboxStatus = job(
  'fast',
  import.meta.url,
  function writeInboxStatus(
    disk: Disk,
    { roots, owner, text }: InboxStatusFile & { readonly roots: TreeRoots },
  ): void {
    const directory = inboxStatusDirectory(roots);
    ensureDirectory(disk, directory);
    const unnamed = join(directory, `.${owner}`);
    removeIfThere(disk, unnamed);
    withOpen(disk, unnamed, 'create', (fd) => {
      writeAll(disk, fd, Buffer.from(text), 0);
      disk.setMode(fd, 0o644);
    });
    disk.rename(unnamed, join(directory, owner));
  },
);

/** Returns the status of all daemons on this tree, including some that died. */
export const readInboxStatus = job(
  'fast',
  import.meta.url,
  function readInboxStatus(
    disk: Disk,
    { roots }: { readonly roots: TreeRoots },
  ): InboxStatusFile[] {
    const directory = inboxStatusDirectory(roots);
    return listIfThere(disk, directory).flatMap(({ name: owner }) => {
      if (owner.startsWith('.')) return [];
      try {
        const bytes = readFile(disk, join(directory, owner), BOARD_BYTES_MAX);
        return [{ owner, text: bytes.toString('utf8') }];
      } catch (error) {
        if (hasErrno(error, 'ENOENT')) return [];
        throw error;
      }
    });
  },
);

/** Deletes the status of processes that end or were found dead. */
export const removeInboxStatus = job(
  'fast',
  import.meta.url,
  function removeInboxStatus(
    disk: Disk,
    { roots, owners }: { readonly roots: TreeRoots; readonly owners: readonly string[] },
  ): void {
    for (const owner of owners) {
      for (const name of [owner, `.${owner}`])
        removeIfThere(disk, join(inboxStatusDirectory(roots), name));
    }
  },
);
