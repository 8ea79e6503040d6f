/**
 * Small files that are done with stay until the bench ends. ext4 without a journal (the machine the
 * figures are from) passes over each inode that was deleted in the last minutes when it looks for a free
 * one: making a file took 7 to 24 µs there, and 160 to 180 µs after some thousands had been removed. Whoever
 * came after a removal would lose.
 */
import { renameSync } from 'node:fs';
import { join } from 'node:path';

let serial = 0;

/** @param directory of the bench, removed at its end */
export function setAside(directory: string, path: string): void {
  renameSync(path, join(directory, `set-aside-${++serial}`));
}
