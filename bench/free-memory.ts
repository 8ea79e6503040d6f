/**
 * A virtual machine returns memory that was free for two seconds to its host (free page reporting). Writing
 * to such memory then costs more than everything measured: on the machine of these figures, `cp` of 2 GiB
 * with `sync` while hashing took 2.2 s right after 2 GiB had been removed, and 5.1 s some seconds later, 89 %
 * of it for the first access to pages. The first measurement after a removal would win.
 */
import { closeSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { command } from './command.js';

/** Write size of dropdock and `cp`: the kernel allocates it in one piece. */
const PIECE = 256 * 1024;

/**
 * Without this margin one of four runs was too slow: the kernel does not reuse the memory that was freed
 * last.
 */
const MORE = 1.5;

/** Ensures that this much memory is free and not returned to the host, and that the disk is idle. */
export async function ownFreeMemory(directory: string, bytes: number): Promise<void> {
  const path = join(directory, 'free-memory');
  const zeros = Buffer.alloc(PIECE);
  const fd = openSync(path, 'wx');
  for (let at = 0; at < bytes * MORE; at += PIECE) writeSync(fd, zeros, 0, PIECE, at);
  closeSync(fd);
  rmSync(path);
  await command('sync', '-f', directory);
}
