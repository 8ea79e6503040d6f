/** Jobs that need two rooms: the readers, and what is published or stored. */
import { randomBytes } from 'node:crypto';
import { basename, dirname, join } from 'node:path';
import type { Disk } from '../disk/disk.js';
import { statIfThere } from '../disk/durable.js';
import {
  adoptSpooled,
  type Ingested,
  ingestAllBytes,
  ingestBytes,
  nothingIngested,
} from '../disk/stored.js';
import { ingestBlobs } from '../disk/verified-copy.js';
import { DropdockError, faultOf } from '../errors.js';
import { type Digest, digestAlgorithm } from '../image/digest.js';
import type { RepositoryId, Tag } from '../image/names.js';
import type {
  BlobSource,
  Missing,
  Reading,
  StagedBlob,
  StagedContent,
} from '../image/staged-content.js';
import type { Verdict } from '../inbox/settle.js';
import { publishedContent, readPivot } from '../publish/current.js';
import type { StageRequest, StageResult } from '../publish/drop.js';
import { publishedElsewhere } from '../publish/elsewhere.js';
import { contentPath, type TreeRoots, workPath } from '../publish/paths.js';
import { readDockerSave } from '../readers/docker-save.js';
import { recogniseDirectory } from '../readers/format.js';
import { readBundle, readDirectoryDrop, recogniseBundle } from '../readers/recognise.js';
import type { Timestamp } from '../snapshot/timestamp.js';
import { openArchive, openPlainTar, packingOf } from './archive.js';
import { stageSaved, temporaryIn, tolerate } from './stage-saved.js';

/** Hashed in less time than it takes to wake other threads for it. */
const SMALL_DROP_BYTES = 1024 * 1024;
const SMALL_DROP_BLOBS = 8;

const NOTHING_PUBLISHED = { sizeOf: () => undefined, readManifest: () => undefined };

export interface ExamineRequest {
  readonly roots: TreeRoots;
  /** Undefined for a bundle. */
  readonly id: RepositoryId | undefined;
  /** The drop, where it lies in the inbox. */
  readonly path: string;
  readonly kind: 'directory' | 'file';
  readonly tag: Tag | undefined;
  /** The repository's targets, where the directory is none of them. */
  readonly elsewhere?: readonly string[] | undefined;
}

/** Is the drop whole? What can never be is found again, with its reason, when it is published. */
export function examine(disk: Disk, request: ExamineRequest): Verdict {
  const { id, path, kind, tag } = request;
  const incomplete = (what: string): Verdict => ({
    kind: 'incomplete',
    missing: [{ digest: '', path: what, by: 'the drop', tolerable: false, platform: undefined }],
  });
  try {
    const published = publishedOf(disk, request);
    if (kind === 'directory') {
      // It only begins to look like a drop: its image is on its way.
      if (recogniseDirectory(disk.list(path)) === undefined) return incomplete('index.json');
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

/** @param base for a look that must be at one snapshot to its end */
function publishedOf(
  disk: Disk,
  { roots, id, elsewhere }: Pick<ExamineRequest, 'roots' | 'id' | 'elsewhere'>,
  base?: Timestamp | null,
): ReturnType<typeof publishedContent> {
  if (id === undefined) return NOTHING_PUBLISHED;
  if (elsewhere !== undefined) return publishedElsewhere(disk, roots, id, elsewhere);
  const snapshot = base === undefined ? readPivot(disk, roots, id) : base;
  return publishedContent(disk, roots, id, snapshot);
}

function verdictOf(missing: readonly Missing[]): Verdict {
  return missing.length === 0 ? { kind: 'whole' } : { kind: 'incomplete', missing };
}

/**
 * Reads a drop, stores its manifests, and says which blobs are to be ingested.
 * @throws every content error; system errors
 */
export async function stage(disk: Disk, request: StageRequest): Promise<StageResult> {
  const { roots, base, transaction, drop } = request;
  if (statIfThere(disk, drop.path) === undefined) {
    throw new DropdockError('claim.lost', `${drop.name} is not where it was.`, { path: drop.name });
  }
  const published = publishedOf(disk, request, base);
  const wanted = { tag: drop.tag, fromInside: drop.fromInside === true };
  if (drop.kind === 'directory') {
    return stageReading(disk, request, readDirectoryDrop(disk, drop.path, wanted, published));
  }
  const spool = join(workPath(roots, transaction), randomBytes(8).toString('hex'));
  return openArchive(disk, { path: drop.path, spool, progress: drop.progress }, (bundle) =>
    recogniseBundle(bundle) === 'docker-save'
      ? stageSaved(disk, request, bundle)
      : stageReading(disk, request, readBundle(bundle, wanted, published)),
  );
}

function stageReading(disk: Disk, request: StageRequest, reading: Reading): StageResult {
  const { roots, drop } = request;
  const { content, missing } = reading;
  // An archive's end mark says that nothing more will come.
  const isEndKnown = drop.tolerateAbsent || drop.kind === 'file';
  const leftOut = [...content.leftOut, ...tolerate(missing, isEndKnown)];
  if (content.roots.length === 0) {
    throw new DropdockError('drop.empty', 'The drop names no image.', { path: drop.name });
  }
  const fresh = content.manifests.flatMap(({ digest, stored, bytes }) =>
    bytes ? [{ bytes, destination: contentPath(roots, stored ?? digest) }] : [],
  );
  ingestAllBytes(disk, fresh, workPath(roots, request.transaction));
  const blobs: BlobOfDrop[] = [];
  const ingested = nothingIngested();
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
      const { progress } = drop;
      blobs.push({ digest, size, destination, progress, ...placeOf(request, source) });
      continue;
    }
    ingested.copied++;
  }
  const left = ingestSmall(disk, request, blobs, ingested);
  return { content: withoutBytes({ ...content, leftOut }), blobs: left, ingested };
}

/** What is hashed in a moment is not worth the way to other threads. @returns the rest */
function ingestSmall(
  disk: Disk,
  { uid }: StageRequest,
  blobs: readonly BlobOfDrop[],
  ingested: Record<Ingested, number>,
): readonly BlobOfDrop[] {
  const bytes = blobs.reduce((sum, { size }) => sum + size, 0);
  if (bytes > SMALL_DROP_BYTES || blobs.length > SMALL_DROP_BLOBS) return blobs;
  const ways = ingestBlobs(
    disk,
    blobs.map((blob) => ({ ...blob, uid })),
  );
  for (const way of ways) ingested[way]++;
  return [];
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
