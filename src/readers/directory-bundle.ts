/** A drop that is a directory. Its owner may change it while it is read; nothing is followed. */
import type { Entry } from '../disk/disk.js';
import { readOpenFile } from '../disk/durable.js';
import type { InsideDirectory } from '../disk/inside.js';
import { DropdockError } from '../errors.js';
import type { Bundle } from './bundle.js';

export interface DirectoryBundle extends Bundle {
  /** What lies at its top; looked at once. */
  entries(): readonly Entry[];
}

export function directoryBundle(inside: InsideDirectory): DirectoryBundle {
  let top: readonly Entry[] | undefined;
  const entries = () => {
    top ??= inside.list('') ?? [];
    return top;
  };
  return {
    entries,
    names: () => entries().map(({ name }) => name),
    source: (name) => ({ path: name }),
    size: (name) => {
      const stat = inside.stat(name);
      if (stat === undefined) return undefined;
      if (stat.kind === 'symlink') {
        throw new DropdockError('path.outside', `${name} is a link.`, { path: name });
      }
      if (stat.kind !== 'file') {
        throw new DropdockError('file.type', `${name} is no regular file.`, { path: name });
      }
      return stat.size;
    },
    read: (name, max) => {
      const file = inside.open(name);
      if (file === undefined) return undefined;
      try {
        return readOpenFile(inside.disk, file, name, max);
      } finally {
        inside.disk.close(file.fd);
      }
    },
  };
}
