/**
 * Records disk operations and their paths, in order: descriptors are named by the path they were opened
 * at.
 */
import { type Disk, nodeDisk } from '#src/storage/disk.js';
import { plainPath } from './plain-path.js';

export interface Recorded {
  readonly verb: string;
  readonly path: string;
  readonly to?: string;
}

export function recordingDisk(): { disk: Disk; log: Recorded[] } {
  const log: Recorded[] = [];
  const names = new Map<number, string>();
  const nameOf = (fd: number) => names.get(fd) ?? '?';
  const disk: Disk = {
    ...nodeDisk,
    open: (path, mode) => {
      const fd = nodeDisk.open(path, mode);
      names.set(fd, plainPath(String(path)));
      if (mode === 'create') log.push({ verb: 'create', path: nameOf(fd) });
      return fd;
    },
    sync: (fd) => {
      nodeDisk.sync(fd);
      log.push({ verb: 'sync', path: nameOf(fd) });
    },
    makeDirectory: (path) => {
      nodeDisk.makeDirectory(path);
      log.push({ verb: 'mkdir', path });
    },
    link: (existing, path) => {
      nodeDisk.link(existing, path);
      log.push({ verb: 'link', path, to: existing });
    },
    symlink: (target, path) => {
      nodeDisk.symlink(target, path);
      log.push({ verb: 'symlink', path, to: target });
    },
    rename: (path, to) => {
      // Named before it happens: a directory on the way may be what is renamed.
      const named = { path: plainPath(String(path)), to: plainPath(to) };
      nodeDisk.rename(path, to);
      log.push({ verb: 'rename', ...named });
    },
  };
  return { disk, log };
}
