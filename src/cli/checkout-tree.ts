/**
 * The tree of `npm start`. In a checkout, commands without any settings use it: otherwise `status` would
 * look at /var/lib/dropdock, where nothing is.
 */
import { join } from 'node:path';
import type { LoadedSettings } from '../settings/settings.js';
import { type Disk, nodeDisk } from '../storage/disk.js';

/** Shown by `dropdock config` as the origin of the paths. */
export const CHECKOUT_ORIGIN = 'the tree of npm start';

/** `run` and `serve` must not depend on what happens to exist; `init` creates a tree. */
const NEED_NO_TREE = new Set(['run', 'serve', 'init']);

/**
 * @param loaded the settings without this tree
 * @param directory of the package
 * @returns the root to use; undefined if the paths are set, if the default tree exists, if the package is
 *   not a checkout, or if `npm start` never ran in it
 */
export function findCheckoutTree(
  command: string,
  { settings, origins }: LoadedSettings,
  directory: string,
  disk: Pick<Disk, 'statIfThere'> = nodeDisk,
): string | undefined {
  if (NEED_NO_TREE.has(command)) return undefined;
  const paths = ['inbox', 'published', 'state'] as const;
  if (paths.some((name) => origins.get(`paths.${name}`) !== 'default')) return undefined;
  const isThere = (path: string) => disk.statIfThere(path) !== undefined;
  if (isThere(settings.paths.state)) return undefined;
  const root = join(directory, 'var');
  return isThere(join(directory, 'src', 'main.ts')) && isThere(join(root, 'state'))
    ? root
    : undefined;
}
