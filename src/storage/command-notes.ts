/**
 * Notes of commands for the log of the daemon: a command writes to its caller, and an operator looks into the
 * journal. The history does not depend on these files, so they are not synced.
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
import { commandNotesDirectory, type TreeRoots } from './tree-paths.js';

/** One change that a command made. */
export interface CommandNote {
  readonly command: string;
  readonly repository: string;
  /** Undefined: the directory. */
  readonly target?: string | undefined;
  readonly by?: string | undefined;
  readonly snapshot: string;
  /** The changed tags, as text. */
  readonly tags: string;
}

/** The limit of notes: without a daemon they are not read. */
const NOTES_MAX = 1000;
const NOTE_BYTES_MAX = 64 * 1024;
const SUFFIX = '.json';

/** Later notes have later names: they begin with the snapshot. */
export const noteCommand = job(
  'fast',
  import.meta.url,
  function noteCommand(
    disk: Disk,
    { roots, owner, note }: { roots: TreeRoots; owner: string; note: CommandNote },
  ): void {
    const directory = commandNotesDirectory(roots);
    ensureDirectory(disk, directory);
    if (disk.names(directory).length >= NOTES_MAX) return;
    const name = join(directory, `${note.snapshot}-${owner}`);
    removeIfThere(disk, name);
    withOpen(disk, name, 'create', (fd) =>
      writeAll(disk, fd, Buffer.from(JSON.stringify(note)), 0),
    );
    disk.rename(name, name + SUFFIX);
  },
);

/** Returns the notes and deletes them; each goes to one of the daemons on this tree. */
export const takeCommandNotes = job(
  'fast',
  import.meta.url,
  function takeCommandNotes(disk: Disk, { roots }: { readonly roots: TreeRoots }): CommandNote[] {
    const directory = commandNotesDirectory(roots);
    const names = listIfThere(disk, directory).map(({ name }) => name);
    return names
      .filter((name) => name.endsWith(SUFFIX))
      .sort()
      .flatMap((name) => take(disk, join(directory, name)) ?? []);
  },
);

/** Returns undefined when another daemon was faster, or the note is damaged. */
function take(disk: Disk, path: string): CommandNote | undefined {
  try {
    const bytes = readFile(disk, path, NOTE_BYTES_MAX);
    disk.unlink(path);
    return JSON.parse(bytes.toString('utf8')) as CommandNote;
  } catch (error) {
    if (hasErrno(error, 'ENOENT') || error instanceof SyntaxError) return undefined;
    throw error;
  }
}
