/** Stages images of `docker save` without a manifest: stores their layers and builds a manifest. */
import { createHash, randomBytes } from 'node:crypto';
import { basename, dirname, join } from 'node:path';
import { DropdockError } from '../errors.js';
import { buildManifest, type StoredLayer } from '../formats/docker-save.js';
import type { NamedRoot } from '../formats/name-roots.js';
import {
  type BundleReading,
  nameReading,
  type SavedImage,
  type SavedLayer,
} from '../formats/reading.js';
import { type Digest, digestFrom } from '../image/digest.js';
import { LISTED_MAX } from '../image/limits.js';
import { parseManifest } from '../image/manifest.js';
import type { LeftOut, Missing, StagedBlob, StagedManifest } from '../image/staged-content.js';
import { describeMissing } from '../inbox/settle.js';
import type { StageRequest } from '../publisher/stored-drop.js';
import type { Disk } from '../storage/disk.js';
import { ingestBytes } from '../storage/into-store.js';
import { contentPath, workPath } from '../storage/tree-paths.js';
import { ExpansionBudget, storeLayer } from './store-layer.js';

/**
 * Stores the layers of images that have no manifest, and builds a manifest for each.
 * @returns the reading with all its images; everything built is in the store
 * @throws content.missing when the drop is incomplete; errors of storeLayer; tag.*
 */
export async function stageSaved(
  disk: Disk,
  request: StageRequest,
  reading: BundleReading,
): Promise<BundleReading> {
  const { unnamed, missing } = reading;
  const { drop } = request;
  tolerate(missing, isEndKnown(drop));
  const manifests: StagedManifest[] = [];
  const blobs = new Map<Digest, StagedBlob>(unnamed.blobs.map((blob) => [blob.digest, blob]));
  const named: NamedRoot[] = [];
  const store = layerStore(disk, request);
  for (const image of unnamed.saved) {
    const layers: StoredLayer[] = [];
    for (const layer of image.layers) layers.push(await store(layer));
    const { config, configDigest } = image;
    for (const { digest, size } of [...layers, { digest: configDigest, size: config.length }]) {
      blobs.set(digest, { digest, size, source: 'published' });
    }
    const manifest = storeManifest(disk, request, image, layers);
    manifests.push(manifest);
    named.push({ digest: manifest.digest, names: image.names });
  }
  const wanted = { tag: drop.tag, fromInside: drop.fromInside === true };
  return nameReading(
    {
      ...unnamed,
      listed: [...unnamed.listed, ...named],
      manifests: [...unnamed.manifests, ...manifests],
      blobs: [...blobs.values()],
      saved: [],
    },
    wanted,
  );
}

/** Returns true when the end mark of an archive shows that nothing more will come. */
export function isEndKnown({
  kind,
  tolerateAbsent,
}: Pick<StageRequest['drop'], 'kind' | 'tolerateAbsent'>): boolean {
  return tolerateAbsent || kind === 'file';
}

/** Stores each layer once, however many images share it. */
function layerStore(
  disk: Disk,
  request: StageRequest,
): (layer: SavedLayer) => Promise<StoredLayer> {
  const { roots, drop } = request;
  const stored = new Map<string, StoredLayer>();
  const budget = new ExpansionBudget();
  return async (layer) => {
    // Two images may declare different digests for one file; at most one of them is right.
    const key = `${layer.diffId} ${layer.path}`;
    const known = stored.get(key);
    if (known) return known;
    const { compress, progress } = drop;
    const done = await storeLayer(disk, layer, {
      ...whereIs(request, layer),
      compress,
      progress,
      budget,
      isEndKnown: isEndKnown(drop),
      destination: (digest) => contentPath(roots, digest),
      temporary: join(workPath(roots, request.transaction), randomBytes(8).toString('hex')),
    });
    stored.set(key, done);
    return done;
  };
}

function whereIs({ drop }: StageRequest, { source }: SavedLayer): { root: string; path: string } {
  if (source.spooled !== undefined) {
    return { root: dirname(source.path), path: basename(source.path) };
  }
  if (drop.kind === 'directory') return { root: drop.path, path: source.path };
  return { root: dirname(drop.path), path: basename(drop.path) };
}

function storeManifest(
  disk: Disk,
  { roots, transaction }: StageRequest,
  image: SavedImage,
  layers: readonly StoredLayer[],
): StagedManifest {
  const place = workPath(roots, transaction);
  ingestBytes(disk, image.config, contentPath(roots, image.configDigest), place);
  const bytes = buildManifest(image, layers);
  const digest = digestFrom('sha256', createHash('sha256').update(bytes).digest('hex'));
  ingestBytes(disk, bytes, contentPath(roots, digest), place);
  const manifest = parseManifest(bytes, undefined, digest);
  return { digest, size: bytes.length, manifest, bytes: undefined };
}

/** @throws content.missing with the missing content and what refers to it */
export function tolerate(missing: readonly Missing[], tolerateAbsent: boolean): LeftOut[] {
  const needed = missing.filter((entry) => !(entry.tolerable && tolerateAbsent));
  const [first] = needed;
  if (first) {
    throw new DropdockError(
      'content.missing',
      `The drop is incomplete, ${describeMissing(needed)}.`,
      {
        path: first.path,
        digest: first.digest,
        by: first.by,
        missing: needed.slice(0, LISTED_MAX).map(({ digest, path }) => digest || path),
      },
    );
  }
  return missing.map(({ digest, platform, by }) => ({
    what: platform ? `${platform} ${digest}` : digest,
    why: `a platform of ${by} that is missing from the drop`,
  }));
}
