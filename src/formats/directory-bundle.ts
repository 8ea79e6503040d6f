/** A drop that is a directory. Its owner may change it while it is read; no link is followed. */
import { posix } from 'node:path';
import { DropdockError } from '../errors.js';
import type { Entry } from '../storage/disk.js';
import { readOpenFile } from '../storage/durable.js';
import type { InsideDirectory } from '../storage/inside-directory.js';
import type { Bundle } from './file-source.js';

export interface DirectoryBundle extends Bundle {
  /** The entries at its top; read once. */
  entries(): readonly Entry[];
}

export function directoryBundle(inside: InsideDirectory): DirectoryBundle {
  let top: readonly Entry[] | undefined;
  const entries = () => {
    top ??= inside.list('') ?? [];
    return top;
  };
  const resolve = (name: string) => resolveLayer(inside, name);
  return {
    entries,
    names: () => entries().map(({ name }) => name),
    below: (directory) =>
      (inside.list(directory) ?? []).flatMap(({ name, kind }) => (kind === 'file' ? [name] : [])),
    source: (name) => ({ path: resolve(name) }),
    size: (asked) => {
      const name = resolve(asked);
      const stat = inside.stat(name);
      if (stat === undefined) return undefined;
      if (stat.kind === 'symlink') {
        throw new DropdockError('path.outside', `${name} is a link.`, { path: name });
      }
      if (stat.kind !== 'file') {
        throw new DropdockError('file.type', `${name} is not a regular file.`, { path: name });
      }
      return stat.size;
    },
    read: (asked, max) => {
      const name = resolve(asked);
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

/**
 * Returns the path of a layer. docker save before version 25 wrote a shared layer once, with links to it
 * (`<id>/layer.tar`). No other link is followed, and no link to a link.
 * @throws path.outside
 */
function resolveLayer(inside: InsideDirectory, path: string): string {
  if (!path.endsWith('/layer.tar') || inside.stat(path)?.kind !== 'symlink') return path;
  const link = inside.reach(path, (full) => inside.disk.readLink(full)) ?? '';
  const target = posix.join(posix.dirname(path), link);
  if (!link.startsWith('/') && !target.startsWith('../')) return target;
  throw new DropdockError('path.outside', `${path} is a link.`, { path });
}
