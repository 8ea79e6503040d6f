/** Jobs that need two rooms: the readers, and what is published or stored. */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { Disk } from '../disk/disk.js';
import { ingestBytes } from '../disk/verified-copy.js';
import { DropdockError, faultOf } from '../errors.js';
import { LISTED_MAX } from '../image/limits.js';
import type { RepositoryId, Tag } from '../image/names.js';
import type { LeftOut, Missing, StagedBlob, StagedContent } from '../image/staged-content.js';
import { type ScanRequest, type ScanResult, scanInbox } from '../inbox/scan.js';
import { describeMissing, type Verdict } from '../inbox/settle.js';
import { publishedContent, readPivot } from '../publish/current.js';
import type { StageRequest, StageResult } from '../publish/drop.js';
import { contentPath, type TreeRoots, workPath } from '../publish/paths.js';
import { readDirectoryDrop, recogniseDirectory } from '../readers/recognise.js';

export function scan(disk: Disk, request: ScanRequest): ScanResult {
  return scanInbox(disk, request, (entries) => recogniseDirectory(entries) !== undefined);
}

export interface ExamineRequest {
  readonly roots: TreeRoots;
  readonly id: RepositoryId;
  /** The drop, where it lies in the inbox. */
  readonly path: string;
  readonly tag: Tag | undefined;
}

/** Is the drop whole? What can never be is found again, with its reason, when it is published. */
export function examine(disk: Disk, { roots, id, path, tag }: ExamineRequest): Verdict {
  try {
    const base = readPivot(disk, roots, id);
    const published = publishedContent(disk, roots, id, base);
    const { missing } = readDirectoryDrop(disk, path, { tag }, published);
    return missing.length === 0 ? { kind: 'whole' } : { kind: 'incomplete', missing };
  } catch (error) {
    if (faultOf(error) === 'content') return { kind: 'refused' };
    throw error;
  }
}

/**
 * Reads a drop, stores its manifests, and says which blobs are to be ingested.
 * @throws every content error; system errors
 */
export function stage(
  disk: Disk,
  { roots, id, base, transaction, drop }: StageRequest,
): StageResult {
  const published = publishedContent(disk, roots, id, base);
  const reading = readDirectoryDrop(disk, drop.path, { tag: drop.tag }, published);
  const leftOut = [...reading.content.leftOut, ...tolerate(reading.missing, drop.tolerateAbsent)];
  if (reading.content.roots.length === 0) {
    throw new DropdockError('drop.empty', 'The drop names no image.', { path: drop.name });
  }
  const temporary = () => join(workPath(roots, transaction), randomBytes(8).toString('hex'));
  for (const { digest, bytes } of reading.content.manifests) {
    if (bytes) ingestBytes(disk, bytes, contentPath(roots, digest), temporary());
  }
  const blobs = reading.content.blobs.flatMap(({ digest, size, source }) => {
    if (source === 'published') return [];
    const destination = contentPath(roots, digest);
    if ('data' in source) {
      ingestBytes(disk, source.data, destination, temporary());
      return [];
    }
    const { path } = source;
    const { ingest, path: root } = drop;
    return [{ digest, size, root, path, destination, temporary: temporary(), ingest }];
  });
  return { content: withoutBytes({ ...reading.content, leftOut }), blobs };
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
