/**
 * A virtual machine gives memory that has been free for two seconds back to its host (free page
 * reporting), and writing to it then costs more than all else that is measured: on the machine these
 * figures are from `cp` of 2 GiB and `sync` beside hashing took 2.2 s right after as much had been
 * removed, and 5.1 s some seconds later: 89 % of it was the first touch of pages. So whoever comes first after a removal would win.
 */
import { closeSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { command } from './command.js';

/** As dropdock and `cp` write: what is written at once is what the kernel takes in one piece. */
const PIECE = 256 * 1024;

/** As much again was not enough once in four times: the kernel does not take what was freed last. */
const MORE = 1.5;

/** So much memory is free afterwards and still this machine's own, and the disk has nothing to do. */
export async function ownFreeMemory(directory: string, bytes: number): Promise<void> {
  const path = join(directory, 'free-memory');
  const zeros = Buffer.alloc(PIECE);
  const fd = openSync(path, 'wx');
  for (let at = 0; at < bytes * MORE; at += PIECE) writeSync(fd, zeros, 0, PIECE, at);
  closeSync(fd);
  rmSync(path);
  await command('sync', '-f', directory);
}
