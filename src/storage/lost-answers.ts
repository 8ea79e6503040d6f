/**
 * On a network filesystem a call may be executed but its response lost; the repeated call then fails, because
 * there is nothing left to rename or the name is taken (NFS over a broken connection). So an error of these
 * calls counts only when the result of the call is absent.
 */
import fs from 'node:fs';

/** @throws the system error, when the file was not renamed */
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

/** Returns undefined when unknown; the original error is used then. */
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
