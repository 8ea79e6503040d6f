/**
 * Recognises the format of a drop by its file names. Every scan of the inbox calls this for each directory,
 * so this file imports no reader.
 */

import { DOCKER_SAVE_MANIFEST_BYTES_MAX } from '../image/limits.js';
import type { Entry } from '../storage/disk.js';
import type { Bundle } from './file-source.js';

export type Format = 'oci-layout' | 'skopeo-dir' | 'docker-save';

export const SAVE_MANIFEST = 'manifest.json';

/**
 * Returns the format of a directory, even if it is incomplete: tools write their files in any order.
 * Undefined for a namespace, an empty directory and unknown entries.
 */
export function recogniseDirectory(entries: readonly Entry[]): Format | undefined {
  return recogniseNames(
    entries.filter(({ kind }) => kind === 'file').map(({ name }) => name),
    () => false,
  );
}

/**
 * Returns the directories of an unpacked docker-archive that its manifest.json refers to. Empty for another
 * kind of manifest.json, or an incomplete one.
 */
export function savedDirectories(manifest: Buffer): ReadonlySet<string> {
  const below = savePaths(manifest).filter((path) => path.includes('/'));
  return new Set(below.map((path) => path.slice(0, path.indexOf('/'))));
}

/** Returns the files that a manifest.json of docker save lists; empty for any other document. */
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

/** True if manifest.json is a list of images, as docker save writes it, or the beginning of one. */
export function isSaveManifest(bundle: Bundle, path = SAVE_MANIFEST): boolean {
  const bytes = bundle.read(path, DOCKER_SAVE_MANIFEST_BYTES_MAX);
  return bytes?.toString('utf8').trimStart().startsWith('[') === true;
}

/** @param isSave true if its manifest.json was written by `docker save` */
export function recogniseNames(
  names: readonly string[],
  isSave: () => boolean,
): Format | undefined {
  // docker save since 25 writes a layout, and a manifest.json for readers that do not support layouts.
  if (names.includes('oci-layout') || names.includes('index.json')) return 'oci-layout';
  if (names.includes(SAVE_MANIFEST) && isSave()) return 'docker-save';
  if (names.includes('version') || names.includes(SAVE_MANIFEST)) return 'skopeo-dir';
  return undefined;
}
