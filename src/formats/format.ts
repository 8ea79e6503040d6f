/**
 * Which format the names of a drop speak of. Asked of every directory at every look at the inbox, so
 * it loads no reader.
 */

import { DOCKER_SAVE_MANIFEST_BYTES_MAX } from '../image/limits.js';
import type { Entry } from '../storage/disk.js';
import type { Bundle } from './file-source.js';

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

/**
 * The directories that belong to a docker-archive which is a directory: those that its manifest.json
 * leads into. None for a manifest.json of another kind, or one that is not there in full.
 */
export function savedDirectories(manifest: Buffer): ReadonlySet<string> {
  const below = savePaths(manifest).filter((path) => path.includes('/'));
  return new Set(below.map((path) => path.slice(0, path.indexOf('/'))));
}

/** The files that a manifest.json of docker save names; none for any other document. */
export function savePaths(manifest: Buffer): string[] {
  let document: unknown;
  try {
    document = JSON.parse(manifest.toString('utf8'));
  } catch {
    return [];
  }
  if (!Array.isArray(document)) return [];
  return document
    .flatMap((image: { Config?: unknown; Layers?: unknown } | null) => {
      const layers = Array.isArray(image?.Layers) ? image.Layers : [];
      return [image?.Config, ...layers];
    })
    .filter((path): path is string => typeof path === 'string')
    .map((path) => path.replace(/^(?:\.?\/)+/, ''));
}

/** True where manifest.json is a list of images, as docker save writes it, or begins like one. */
export function isSaveManifest(bundle: Bundle, path = SAVE_MANIFEST): boolean {
  const bytes = bundle.read(path, DOCKER_SAVE_MANIFEST_BYTES_MAX);
  return bytes?.toString('utf8').trimStart().startsWith('[') === true;
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
