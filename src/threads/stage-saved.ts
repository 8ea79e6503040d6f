/** Stages archives of old `docker save`: layers into the store, and a manifest built for each image. */
import { createHash, randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { Disk } from '../disk/disk.js';
import { ingestBytes } from '../disk/into-store.js';
import { nothingIngested } from '../disk/stored.js';
import { DropdockError } from '../errors.js';
import { type Digest, digestFrom } from '../image/digest.js';
import { LISTED_MAX } from '../image/limits.js';
import { parseManifest } from '../image/manifest.js';
import type { LeftOut, Missing, StagedBlob, StagedManifest } from '../image/staged-content.js';
import { describeMissing } from '../inbox/settle.js';
import type { StageRequest, StageResult } from '../publish/drop.js';
import { contentPath, workPath } from '../publish/paths.js';
import type { Bundle } from '../readers/bundle.js';
import { buildManifest, readDockerSave, type StoredLayer } from '../readers/docker-save.js';
import { type NamedRoot, nameRoots } from '../readers/name-roots.js';
import { storeLayer } from './store-layer.js';

/** An archive of old: its layers are stored, then manifests are built for its images. */
export function stageSaved(disk: Disk, request: StageRequest, bundle: Bundle): StageResult {
  const { roots, drop } = request;
  const { images, missing } = readDockerSave(bundle);
  tolerate(missing, false);
  const destination = (digest: Digest) => contentPath(roots, digest);
  const place = workPath(roots, request.transaction);
  const manifests: StagedManifest[] = [];
  const blobs = new Map<Digest, StagedBlob>();
  const named: NamedRoot[] = [];
  const stored = new Map<string, StoredLayer>();
  for (const image of images) {
    const layers = image.layers.map((layer) => {
      const known = stored.get(layer.path);
      if (known) return known;
      const { path: archive, compress, progress } = drop;
      const given = { archive, compress, progress, destination, temporary: temporaryIn(request) };
      const done = storeLayer(disk, layer, given);
      stored.set(layer.path, done);
      return done;
    });
    const { config, configDigest } = image;
    ingestBytes(disk, config, destination(configDigest), place);
    for (const { digest, size } of [...layers, { digest: configDigest, size: config.length }]) {
      blobs.set(digest, { digest, size, source: 'published' });
    }
    const bytes = buildManifest(image, layers);
    const digest = digestFrom('sha256', createHash('sha256').update(bytes).digest('hex'));
    ingestBytes(disk, bytes, destination(digest), place);
    const manifest = parseManifest(bytes, undefined, digest);
    manifests.push({ digest, size: bytes.length, manifest, bytes: undefined });
    named.push({ digest, names: image.names });
  }
  const wanted = { tag: drop.tag, fromInside: drop.fromInside === true };
  const { roots: tagged, warnings } = nameRoots(named, manifests, wanted);
  const warning =
    'docker save of old keeps no manifest: the digest is not that of the registry it came from';
  return {
    content: {
      roots: tagged,
      manifests,
      blobs: [...blobs.values()],
      leftOut: [],
      warnings: [...warnings, warning],
    },
    blobs: [],
    ingested: { ...nothingIngested(), copied: blobs.size },
  };
}

/** A name of our own for what is on its way into the store. */
function temporaryIn({ roots, transaction }: Pick<StageRequest, 'roots' | 'transaction'>): string {
  return join(workPath(roots, transaction), randomBytes(8).toString('hex'));
}

/** @throws content.missing, naming what is missing and what refers to it */
export function tolerate(missing: readonly Missing[], tolerateAbsent: boolean): LeftOut[] {
  const needed = missing.filter((entry) => !(entry.tolerable && tolerateAbsent));
  const [first] = needed;
  if (first) {
    throw new DropdockError(
      'content.missing',
      `The drop is not whole, ${describeMissing(needed)}.`,
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
    why: `a platform of ${by} that the drop does not hold`,
  }));
}
