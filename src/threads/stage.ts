/** Jobs that need two rooms: the readers, and what is published or stored. */
import { createHash, randomBytes } from 'node:crypto';
import { basename, dirname, join } from 'node:path';
import type { Disk } from '../disk/disk.js';
import { adoptSpooled, ingestBytes } from '../disk/stored.js';
import { DropdockError, faultOf } from '../errors.js';
import { type Digest, digestAlgorithm, digestFrom } from '../image/digest.js';
import { LISTED_MAX } from '../image/limits.js';
import { parseManifest } from '../image/manifest.js';
import type { RepositoryId, Tag } from '../image/names.js';
import type {
  BlobSource,
  LeftOut,
  Missing,
  Reading,
  StagedBlob,
  StagedContent,
  StagedManifest,
} from '../image/staged-content.js';
import { type ScanRequest, type ScanResult, scanInbox } from '../inbox/scan.js';
import { describeMissing, type Verdict } from '../inbox/settle.js';
import { publishedContent, readPivot } from '../publish/current.js';
import type { StageRequest, StageResult } from '../publish/drop.js';
import { contentPath, type TreeRoots, workPath } from '../publish/paths.js';
import type { Bundle } from '../readers/bundle.js';
import { buildManifest, readDockerSave, type StoredLayer } from '../readers/docker-save.js';
import { type NamedRoot, nameRoots } from '../readers/name-roots.js';
import {
  readBundle,
  readDirectoryDrop,
  recogniseBundle,
  recogniseDirectory,
} from '../readers/recognise.js';
import { openArchive, openPlainTar, packingOf } from './archive.js';
import { storeLayer } from './store-layer.js';

const NOTHING_PUBLISHED = { has: () => false, readManifest: () => undefined };

export function scan(disk: Disk, request: ScanRequest): ScanResult {
  return scanInbox(disk, request, (entries) => recogniseDirectory(entries) !== undefined);
}

export interface ExamineRequest {
  readonly roots: TreeRoots;
  /** Undefined for a bundle. */
  readonly id: RepositoryId | undefined;
  /** The drop, where it lies in the inbox. */
  readonly path: string;
  readonly kind: 'directory' | 'file';
  readonly tag: Tag | undefined;
}

/** Is the drop whole? What can never be is found again, with its reason, when it is published. */
export function examine(disk: Disk, request: ExamineRequest): Verdict {
  const { roots, id, path, kind, tag } = request;
  const incomplete = (what: string): Verdict => ({
    kind: 'incomplete',
    missing: [{ digest: '', path: what, by: 'the archive', tolerable: false, platform: undefined }],
  });
  try {
    const published =
      id === undefined
        ? NOTHING_PUBLISHED
        : publishedContent(disk, roots, id, readPivot(disk, roots, id));
    if (kind === 'directory') {
      const wanted = { tag, fromInside: id === undefined };
      return verdictOf(readDirectoryDrop(disk, path, wanted, published).missing);
    }
    const packing = packingOf(disk, path);
    if (packing === undefined) return { kind: 'stranger' };
    // Only reading all of a compressed archive tells whether it is whole; publishing it does.
    if (packing !== 'tar') return { kind: 'whole' };
    return openPlainTar(disk, path, (bundle) =>
      recogniseBundle(bundle) === 'docker-save'
        ? verdictOf(readDockerSave(bundle).missing)
        : // The end mark is there: nothing more will come.
          { kind: 'whole' },
    );
  } catch (error) {
    if (error instanceof DropdockError && error.code === 'archive.truncated') {
      return incomplete('its end mark');
    }
    if (faultOf(error) === 'content') return { kind: 'refused' };
    throw error;
  }
}

function verdictOf(missing: readonly Missing[]): Verdict {
  return missing.length === 0 ? { kind: 'whole' } : { kind: 'incomplete', missing };
}

/**
 * Reads a drop, stores its manifests, and says which blobs are to be ingested.
 * @throws every content error; system errors
 */
export async function stage(disk: Disk, request: StageRequest): Promise<StageResult> {
  const { roots, id, base, transaction, drop } = request;
  const published = id === undefined ? NOTHING_PUBLISHED : publishedContent(disk, roots, id, base);
  const wanted = { tag: drop.tag, fromInside: drop.fromInside === true };
  if (drop.kind === 'directory') {
    return stageReading(disk, request, readDirectoryDrop(disk, drop.path, wanted, published));
  }
  const spool = join(workPath(roots, transaction), randomBytes(8).toString('hex'));
  return openArchive(disk, drop.path, spool, (bundle) =>
    recogniseBundle(bundle) === 'docker-save'
      ? stageSaved(disk, request, bundle)
      : stageReading(disk, request, readBundle(bundle, wanted, published)),
  );
}

function stageReading(disk: Disk, request: StageRequest, reading: Reading): StageResult {
  const { roots, drop } = request;
  const { content, missing } = reading;
  const leftOut = [...content.leftOut, ...tolerate(missing, drop.tolerateAbsent)];
  if (content.roots.length === 0) {
    throw new DropdockError('drop.empty', 'The drop names no image.', { path: drop.name });
  }
  for (const { digest, bytes } of content.manifests) {
    if (bytes) ingestBytes(disk, bytes, contentPath(roots, digest), temporaryIn(request));
  }
  const blobs: BlobOfDrop[] = [];
  let stored = 0;
  for (const blob of content.blobs) {
    const { digest, size, source } = blob;
    if (source === 'published') continue;
    const destination = contentPath(roots, digest);
    if ('data' in source) {
      ingestBytes(disk, source.data, destination, temporaryIn(request));
    } else if (source.spooled !== undefined && digestAlgorithm(digest) === 'sha256') {
      checkSpooled(digest, source);
      adoptSpooled(disk, { path: source.path, destination });
    } else {
      blobs.push({ digest, size, destination, ...placeOf(request, source) });
      continue;
    }
    stored++;
  }
  return { content: withoutBytes({ ...content, leftOut }), blobs, stored };
}

type BlobOfDrop = StageResult['blobs'][number];

/** Where a blob is read from: a file of the drop, a part of an archive, a file of our own. */
function placeOf(
  request: StageRequest,
  { path, offset, spooled }: BlobSource,
): Pick<BlobOfDrop, 'root' | 'path' | 'offset' | 'temporary' | 'ingest'> {
  const { drop } = request;
  const temporary = temporaryIn(request);
  if (spooled !== undefined) {
    return { root: dirname(path), path: basename(path), temporary, ingest: 'copy' };
  }
  const root = drop.kind === 'file' ? dirname(drop.path) : drop.path;
  return { root, path, offset, temporary, ingest: drop.ingest };
}

function checkSpooled(digest: Digest, { path, spooled = '' }: BlobSource): void {
  if (spooled === digest) return;
  throw new DropdockError('digest.mismatch', `The archive holds other bytes than ${digest}.`, {
    path: basename(path),
    digest,
    found: spooled,
  });
}

/** An archive of old: its layers are stored, then manifests are built for its images. */
function stageSaved(disk: Disk, request: StageRequest, bundle: Bundle): StageResult {
  const { roots, drop } = request;
  const { images, missing } = readDockerSave(bundle);
  tolerate(missing, false);
  const destination = (digest: Digest) => contentPath(roots, digest);
  const manifests: StagedManifest[] = [];
  const blobs = new Map<Digest, StagedBlob>();
  const named: NamedRoot[] = [];
  const stored = new Map<string, StoredLayer>();
  for (const image of images) {
    const layers = image.layers.map((layer) => {
      const known = stored.get(layer.path);
      if (known) return known;
      const { path: archive, compress } = drop;
      const place = { archive, compress, destination, temporary: temporaryIn(request) };
      const done = storeLayer(disk, layer, place);
      stored.set(layer.path, done);
      return done;
    });
    const { config, configDigest } = image;
    ingestBytes(disk, config, destination(configDigest), temporaryIn(request));
    for (const { digest, size } of [...layers, { digest: configDigest, size: config.length }]) {
      blobs.set(digest, { digest, size, source: 'published' });
    }
    const bytes = buildManifest(image, layers);
    const digest = digestFrom('sha256', createHash('sha256').update(bytes).digest('hex'));
    ingestBytes(disk, bytes, destination(digest), temporaryIn(request));
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
    stored: blobs.size,
  };
}

function temporaryIn({ roots, transaction }: StageRequest): string {
  return join(workPath(roots, transaction), randomBytes(8).toString('hex'));
}

/** @throws content.missing, naming what is missing and what refers to it */
function tolerate(missing: readonly Missing[], tolerateAbsent: boolean): LeftOut[] {
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

/** Bytes are stored by now; they need not cross threads. */
function withoutBytes(content: StagedContent): StagedContent {
  return {
    ...content,
    manifests: content.manifests.map((manifest) => ({ ...manifest, bytes: undefined })),
    blobs: content.blobs.map(
      (blob): StagedBlob =>
        typeof blob.source === 'object' && 'data' in blob.source
          ? { ...blob, source: 'published' }
          : blob,
    ),
  };
}
