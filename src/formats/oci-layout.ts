/** OCI image layouts: image-spec v1.1, image-layout.md. */
import * as v from 'valibot';
import { combineNames } from '../image/bundle.js';
import { type Digest, digestAlgorithm, digestHex } from '../image/digest.js';
import { anyObject, isWholeJson, parseJson } from '../image/json.js';
import { LAYOUT_INDEX_BYTES_MAX } from '../image/limits.js';
import { type Descriptor, parseLayoutIndex } from '../image/manifest.js';
import { manifestKind } from '../image/media-types.js';
import type { LeftOut } from '../image/staged-content.js';
import type { Bundle, PublishedContent } from './file-source.js';
import { readGraph } from './graph.js';
import type { NamedRoot } from './name-roots.js';
import { NOTHING_READ, type UnnamedReading } from './reading.js';

const REF_NAME = 'org.opencontainers.image.ref.name';
const CONTAINERD_NAME = 'io.containerd.image.name';

const INCOMPLETE_JSON = 'is not valid JSON yet';

const layoutFile = v.object({ imageLayoutVersion: v.string() });

export type LayoutIndex =
  | { readonly descriptors: readonly Descriptor[] }
  /** The file that is missing, incomplete or without images. */
  | { readonly unready: string; readonly isEmpty: boolean; readonly problem?: string };

/** @throws json.*, digest.invalid */
export function readLayoutIndex(bundle: Bundle): LayoutIndex {
  const layout = bundle.read('oci-layout', LAYOUT_INDEX_BYTES_MAX);
  const index = bundle.read('index.json', LAYOUT_INDEX_BYTES_MAX);
  // Tools write both files in place: an empty or incomplete one is still being written.
  if (layout === undefined) return { unready: 'oci-layout', isEmpty: false };
  if (!isWholeJson(layout)) {
    return { unready: 'oci-layout', isEmpty: false, problem: INCOMPLETE_JSON };
  }
  if (index === undefined) return { unready: 'index.json', isEmpty: false };
  if (!isWholeJson(index))
    return { unready: 'index.json', isEmpty: false, problem: INCOMPLETE_JSON };
  parseJson(layout, 'oci-layout', layoutFile, LAYOUT_INDEX_BYTES_MAX);
  const document = parseJson(index, 'index.json', anyObject, LAYOUT_INDEX_BYTES_MAX);
  const descriptors = parseLayoutIndex(document, 'index.json');
  // crane, oras and umoci begin with an empty index.
  if (descriptors.length === 0) {
    return { unready: 'index.json', isEmpty: true, problem: 'lists no image yet' };
  }
  return { descriptors };
}

/** Returns where a layout keeps the content of a digest. */
export function blobPlace(digest: Digest): string {
  return `blobs/${digestAlgorithm(digest)}/${digestHex(digest)}`;
}

/** @throws content errors; content that may still arrive is in `missing` */
export function readLayoutImages(
  descriptors: readonly Descriptor[],
  bundle: Bundle,
  published: PublishedContent,
): UnnamedReading {
  const leftOut: LeftOut[] = [];
  const images = descriptors.filter((descriptor) => {
    if (manifestKind(descriptor.mediaType) !== undefined) return true;
    const why = `of type ${descriptor.mediaType}, not a manifest`;
    leftOut.push({ what: descriptor.digest, why, isHeld: true });
    return false;
  });
  const graph = readGraph(
    images.map((descriptor) => ({ descriptor, by: 'index.json' })),
    bundle,
    { manifest: blobPlace, blob: blobPlace },
    published,
  );
  const { manifests, blobs, missing } = graph;
  return {
    ...NOTHING_READ,
    listed: toRoots(images),
    manifests,
    blobs,
    missing,
    leftOut: [...leftOut, ...graph.leftOut],
  };
}

/** Returns one root per image, with the names of all its entries. */
function toRoots(descriptors: readonly Descriptor[]): NamedRoot[] {
  const namesOf = new Map<Digest, { full: string[]; short: string[] }>();
  for (const { digest, annotations } of descriptors) {
    const names = namesOf.get(digest) ?? { full: [], short: [] };
    namesOf.set(digest, names);
    const full = annotations?.[CONTAINERD_NAME];
    const short = annotations?.[REF_NAME];
    if (full !== undefined) names.full.push(full);
    if (short !== undefined) names.short.push(short);
  }
  return [...namesOf].map(([digest, { full, short }]) => ({
    digest,
    names: combineNames(full, short),
  }));
}
