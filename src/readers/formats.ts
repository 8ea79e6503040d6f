/**
 * Which format a drop is, by what lies in it and never by its name. What is asked at every look at the
 * inbox; reading the formats takes more, and is loaded when there is something to read.
 */
import type { Entry } from '../disk/disk.js';
import { DOCKER_SAVE_MANIFEST_BYTES_MAX } from '../image/limits.js';
import type { Bundle } from './bundle.js';

export const SAVE_MANIFEST = 'manifest.json';

export type Format = 'oci-layout' | 'skopeo-dir' | 'docker-save';

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

/** The format of what has these files at its top; undefined for strangers. */
export function recogniseBundle(bundle: Bundle): Format | undefined {
  return recogniseNames(bundle.names(), () => {
    const bytes = bundle.read(SAVE_MANIFEST, DOCKER_SAVE_MANIFEST_BYTES_MAX);
    return bytes?.toString('utf8').trimStart().startsWith('[') === true;
  });
}

function recogniseNames(names: readonly string[], isSave: () => boolean): Format | undefined {
  // docker save since 25 writes a layout and a manifest.json for those who know no layouts.
  if (names.includes('oci-layout') || names.includes('index.json')) return 'oci-layout';
  if (names.includes(SAVE_MANIFEST) && isSave()) return 'docker-save';
  if (names.includes('version') || names.includes(SAVE_MANIFEST)) return 'skopeo-dir';
  return undefined;
}
