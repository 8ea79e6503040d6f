/** A drop that is a directory. Its owner may change it while it is read; nothing is followed. */
import type { Disk } from '../disk/disk.js';
import { readOpenFile } from '../disk/durable.js';
import { InsideDirectory } from '../disk/inside.js';
import { DropdockError } from '../errors.js';
import type { Bundle } from './bundle.js';

export function withDirectoryBundle<T>(disk: Disk, path: string, use: (bundle: Bundle) => T): T {
  return InsideDirectory.use(disk, path, (inside) =>
    use({
      names: () => inside.list('')?.map(({ name }) => name) ?? [],
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
        const fd = inside.open(name);
        if (fd === undefined) return undefined;
        try {
          return readOpenFile(disk, fd, name, max);
        } finally {
          disk.close(fd);
        }
      },
    }),
  );
}
