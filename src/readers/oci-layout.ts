/** OCI image layouts: image-spec v1.1, image-layout.md. */
import * as v from 'valibot';
import { type Digest, digestAlgorithm, digestHex } from '../image/digest.js';
import { anyObject, isWholeJson, parseJson } from '../image/json.js';
import { LAYOUT_INDEX_BYTES_MAX } from '../image/limits.js';
import { type Descriptor, parseLayoutIndex } from '../image/manifest.js';
import { manifestKind } from '../image/media-types.js';
import type { LeftOut, Missing, Reading } from '../image/staged-content.js';
import type { Bundle, PublishedContent } from './bundle.js';
import { readGraph } from './graph.js';
import { type NamedRoot, nameRoots, type WantedName } from './name-roots.js';

const REF_NAME = 'org.opencontainers.image.ref.name';
const CONTAINERD_NAME = 'io.containerd.image.name';

const layoutFile = v.object({ imageLayoutVersion: v.string() });

/** @throws content errors; what may still arrive is in `missing` */
export function readOciLayout(
  bundle: Bundle,
  wanted: WantedName,
  published: PublishedContent,
): Reading {
  const unready = (path: string): Reading => ({
    content: { roots: [], manifests: [], blobs: [], leftOut: [], warnings: [] },
    missing: [{ digest: '', path, by: 'the layout', tolerable: false, platform: undefined }],
  });
  const layout = bundle.read('oci-layout', LAYOUT_INDEX_BYTES_MAX);
  const index = bundle.read('index.json', LAYOUT_INDEX_BYTES_MAX);
  // Tools write both in place: empty or torn, they are on their way.
  if (layout === undefined || !isWholeJson(layout)) return unready('oci-layout');
  if (index === undefined || !isWholeJson(index)) return unready('index.json');
  parseJson(layout, 'oci-layout', layoutFile, LAYOUT_INDEX_BYTES_MAX);
  const document = parseJson(index, 'index.json', anyObject, LAYOUT_INDEX_BYTES_MAX);
  const descriptors = parseLayoutIndex(document, 'index.json');
  // crane and oras begin with an index that lists nothing.
  if (descriptors.length === 0) return unready('index.json lists no image;');
  return readImages(descriptors, bundle, wanted, published);
}

function readImages(
  descriptors: readonly Descriptor[],
  bundle: Bundle,
  wanted: WantedName,
  published: PublishedContent,
): Reading {
  const leftOut: LeftOut[] = [];
  const images = descriptors.filter((descriptor) => {
    if (manifestKind(descriptor.mediaType) !== undefined) return true;
    leftOut.push({ what: descriptor.digest, why: `of type ${descriptor.mediaType}, no manifest` });
    return false;
  });
  const place = (digest: Digest) => `blobs/${digestAlgorithm(digest)}/${digestHex(digest)}`;
  const graph = readGraph(
    images.map((descriptor) => ({ descriptor, by: 'index.json' })),
    bundle,
    { manifest: place, blob: place },
    published,
  );
  const { roots, warnings } = nameRoots(toRoots(images), graph.manifests, wanted);
  return {
    content: {
      roots,
      manifests: graph.manifests,
      blobs: graph.blobs,
      leftOut: [...leftOut, ...graph.leftOut],
      warnings,
    },
    missing: graph.missing satisfies readonly Missing[],
  };
}

function toRoots(descriptors: readonly Descriptor[]): NamedRoot[] {
  return descriptors.map(({ digest, annotations }) => ({
    digest,
    names: [annotations?.[CONTAINERD_NAME], annotations?.[REF_NAME]].filter(
      (name) => name !== undefined,
    ),
  }));
}
