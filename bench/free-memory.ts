/**
 * A virtual machine gives memory that has been free for two seconds back to its host (free page
 * reporting), and writing to it then costs more than all else that is measured: on the machine these
 * figures are from `cp` of 2 GiB and `sync` beside hashing took 2.2 s right after as much had been
 * removed, and 5.1 s some seconds later. So whoever comes first after a removal would win.
 */
import { closeSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';

/** As dropdock and `cp` write: what is written at once is what the kernel takes in one piece. */
const PIECE = 256 * 1024;

/** So much memory is free afterwards and still this machine's own; nothing of it goes to the disk. */
export function ownFreeMemory(directory: string, bytes: number): void {
  const path = join(directory, 'free-memory');
  const zeros = Buffer.alloc(PIECE);
  const fd = openSync(path, 'wx');
  for (let at = 0; at < bytes; at += PIECE) writeSync(fd, zeros, 0, PIECE, at);
  closeSync(fd);
  rmSync(path);
}
