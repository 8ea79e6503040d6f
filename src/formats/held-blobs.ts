/**
 * Finds content in the `blobs` directory of a layout that does not belong to its images, such as other
 * images.
 */
import { DropdockError } from '../errors.js';
import { type Digest, isDigest } from '../image/digest.js';
import { LISTED_MAX, MANIFEST_BYTES_MAX, MANIFESTS_TOTAL_BYTES_MAX } from '../image/limits.js';
import { type Manifest, parseManifest } from '../image/manifest.js';
import type { LeftOut } from '../image/staged-content.js';
import type { Bundle } from './file-source.js';

/** A manifest that was found by scanning; its bytes are not verified. */
export interface HeldManifest {
  readonly digest: Digest;
  readonly size: number;
  readonly manifest: Manifest;
}

export interface HeldBlobs {
  readonly manifests: readonly HeldManifest[];
  readonly others: readonly Digest[];
}

/** @param known blobs that need no scan */
export function findHeldBlobs(bundle: Bundle, known: ReadonlySet<string>): HeldBlobs {
  const manifests: HeldManifest[] = [];
  const others: Digest[] = [];
  let bytes = 0;
  for (const { digest, path } of digestsIn(bundle)) {
    if (known.has(digest)) continue;
    const size = bundle.size(path) ?? 0;
    const isReadable = size <= MANIFEST_BYTES_MAX && bytes + size <= MANIFESTS_TOTAL_BYTES_MAX;
    if (isReadable) bytes += size;
    const manifest = isReadable ? manifestIn(bundle, path) : undefined;
    if (manifest) manifests.push({ digest, size, manifest });
    else others.push(digest);
  }
  return { manifests, others };
}

/** Sorted, so that the result does not depend on the disk. */
function digestsIn(bundle: Bundle): { digest: Digest; path: string }[] {
  return ['sha256', 'sha512'].flatMap((algorithm) =>
    filesBelow(bundle, `blobs/${algorithm}`)
      .map((name) => ({ digest: `${algorithm}:${name}`, path: `blobs/${algorithm}/${name}` }))
      .filter((each): each is { digest: Digest; path: string } => isDigest(each.digest))
      .sort((a, b) => (a.digest < b.digest ? -1 : 1)),
  );
}

/** Returns the files in a directory of a drop; '' is the top. */
export function filesBelow(bundle: Bundle, directory: string): readonly string[] {
  if (bundle.below) return bundle.below(directory);
  const prefix = directory === '' ? '' : `${directory}/`;
  return bundle
    .names()
    .filter((name) => name.startsWith(prefix) && !name.includes('/', prefix.length))
    .map((name) => name.slice(prefix.length));
}

/** Undefined for a file that is not a manifest: a layer, a config, another document. */
function manifestIn(bundle: Bundle, path: string): Manifest | undefined {
  const bytes = bundle.read(path, MANIFEST_BYTES_MAX);
  // Skips layers by their first byte, without parsing them as text.
  if (bytes?.[0] !== 0x7b) return undefined;
  try {
    return parseManifest(bytes, undefined, path);
  } catch (error) {
    if (error instanceof DropdockError) return undefined;
    throw error;
  }
}

/** The entries for the receipt. */
export function heldLeftOut({ manifests, others }: HeldBlobs): LeftOut[] {
  const children = new Set(
    manifests.flatMap(({ manifest }) => manifest.manifests.map(({ digest }) => digest)),
  );
  const tops = manifests.filter(({ digest }) => !children.has(digest));
  return [
    ...listed(
      tops.map(({ digest }) => digest),
      { what: 'images', why: 'in the drop, but nothing refers to them', isHeld: true },
    ),
    ...listed(others, { what: 'blobs', why: 'in the drop, but not part of its images' }),
  ];
}

/** Lists each by name, or many in one entry. */
export function listed(names: readonly string[], { what, ...entry }: LeftOut): LeftOut[] {
  if (names.length <= LISTED_MAX) return names.map((name) => ({ what: name, ...entry }));
  const shown = names.slice(0, LISTED_MAX).join(', ');
  return [
    { ...entry, what: `${names.length} ${what}: ${shown} and ${names.length - LISTED_MAX} more` },
  ];
}
