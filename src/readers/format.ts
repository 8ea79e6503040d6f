/**
 * Which format the names of a drop speak of. Asked of every directory at every look at the inbox, so
 * it loads no reader.
 */
import type { Entry } from '../disk/disk.js';

export type Format = 'oci-layout' | 'skopeo-dir' | 'docker-save';

export const SAVE_MANIFEST = 'manifest.json';

/**
 * The format a directory has, or is on its way to: tools write their files in every order.
 * Undefined for a name space, an empty directory, and strangers.
 */
export function recogniseDirectory(entries: readonly Entry[]): Format | undefined {
  return recogniseNames(
    entries.filter(({ kind }) => kind === 'file').map(({ name }) => name),
    () => false,
  );
}

/** @param isSave whether its manifest.json is that of `docker save` */
export function recogniseNames(
  names: readonly string[],
  isSave: () => boolean,
): Format | undefined {
  // docker save since 25 writes a layout and a manifest.json for those who know no layouts.
  if (names.includes('oci-layout') || names.includes('index.json')) return 'oci-layout';
  if (names.includes(SAVE_MANIFEST) && isSave()) return 'docker-save';
  if (names.includes('version') || names.includes(SAVE_MANIFEST)) return 'skopeo-dir';
  return undefined;
}
