/**
 * On a network a call may be carried out and its answer lost; asked once more, the server says that
 * there is nothing to rename any more, or that the name is taken (NFS over a broken connection). So an
 * error of these calls is believed only when what it was to bring about is not there.
 */
import fs from 'node:fs';

/** @throws what the system says, and the file is where it was, or somebody else's matter */
export function rename(from: string | Buffer, to: string): void {
  const before = look(from);
  try {
    fs.renameSync(from, to);
  } catch (error) {
    if (before === undefined || look(from) !== undefined || !isSame(before, look(to))) throw error;
  }
}

export function link(existing: string, path: string): void {
  try {
    fs.linkSync(existing, path);
  } catch (error) {
    const wanted = look(existing);
    if (wanted === undefined || !isSame(wanted, look(path))) throw error;
  }
}

export function symlink(target: string, path: string): void {
  try {
    fs.symlinkSync(target, path);
  } catch (error) {
    if (targetOf(path) !== target) throw error;
  }
}

/** Undefined where it cannot be told: then the error that was heard is the one to go by. */
function look(path: string | Buffer): fs.Stats | undefined {
  try {
    return fs.lstatSync(path, { throwIfNoEntry: false });
  } catch {
    return undefined;
  }
}

function targetOf(path: string): string | undefined {
  try {
    return fs.readlinkSync(path);
  } catch {
    return undefined;
  }
}

function isSame(a: fs.Stats, b: fs.Stats | undefined): boolean {
  return b !== undefined && a.ino === b.ino && a.dev === b.dev;
}
