/** Decides whether a drop is complete. Uses the format readers and the published content. */

import { DropdockError, faultOf } from '../errors.js';
import { endsInZeros, openPlainTar, packingOf } from '../formats/archive.js';
import { directoryBundle } from '../formats/directory-bundle.js';
import type { Bundle } from '../formats/file-source.js';
import { recogniseDirectory } from '../formats/format.js';
import { readBundle } from '../formats/recognise.js';
import type { RepositoryId, Tag } from '../image/names.js';
import type { Reading } from '../image/staged-content.js';
import type { Verdict } from '../inbox/settle.js';
import type { Disk } from '../storage/disk.js';
import type { InsideDirectory } from '../storage/inside-directory.js';
import type { TreeRoots } from '../storage/tree-paths.js';
import { publishedContent, readPivot } from '../targets/directory/pivot.js';
import { publishedElsewhere } from '../targets/directory/published-elsewhere.js';

const NOTHING_PUBLISHED = { sizeOf: () => undefined, readManifest: () => undefined };

export interface ExamineRequest {
  readonly roots: TreeRoots;
  /** Undefined for a bundle. */
  readonly id: RepositoryId | undefined;
  readonly inbox: string;
  /** Path of the drop in the inbox. */
  readonly path: string;
  readonly kind: 'directory' | 'file';
  readonly tag: Tag | undefined;
  /** The repository's targets, when the directory is not one of them. */
  readonly elsewhere?: readonly string[] | undefined;
}

/** Result of examining a drop. */
export interface Finding {
  readonly verdict: Verdict;
  /** What was read of a complete directory. */
  readonly reading?: Reading;
}

/**
 * Decides whether the drop is complete. A drop that never can be is refused, with its reason, by the publish.
 */
export function examineDirectory(
  disk: Disk,
  request: ExamineRequest,
  inside: InsideDirectory,
): Finding {
  return refusing(() => {
    const bundle = directoryBundle(inside);
    // It only begins to look like an image.
    if (recogniseDirectory(bundle.entries()) === undefined) {
      return { verdict: incomplete('index.json') };
    }
    const { id, tag } = request;
    const options = { published: publishedOf(disk, request), isEndKnown: false };
    const reading = readBundle(bundle, { tag, fromInside: id === undefined }, options);
    const verdict = verdictOf(reading);
    // Layers that need compression take long, so a separate job stores them.
    return reading.unnamed.saved.length > 0 ? { verdict } : { verdict, reading };
  });
}

/** Same as `examineDirectory`, for an archive. */
export function examineFile(disk: Disk, request: ExamineRequest): Finding {
  const { inbox, path } = request;
  return refusing(() => {
    const packing = packingOf(disk, inbox, path);
    if (packing === undefined) return { verdict: { kind: 'stranger' } };
    if (packing === 'unsupported') return { verdict: { kind: 'refused' } };
    if (packing === 'tar') {
      // The end mark is there, so nothing more will come; the publish reports what is missing.
      return openPlainTar(disk, inbox, path, ({ bundle, isPreallocated }) => ({
        verdict: isPreallocated ? examinePreallocated(disk, request, bundle) : { kind: 'whole' },
      }));
    }
    // Only reading a compressed archive to its end shows whether it is complete; the publish does that.
    return { verdict: endsInZeros(disk, inbox, path) ? incomplete('its end') : { kind: 'whole' } };
  });
}

/** What looks like the end mark may be preallocated space, as when copying over SMB. */
function examinePreallocated(disk: Disk, request: ExamineRequest, bundle: Bundle): Verdict {
  const { id, tag } = request;
  const wanted = { tag, fromInside: id === undefined };
  try {
    const options = { published: publishedOf(disk, request), isEndKnown: false };
    return verdictOf(readBundle(bundle, wanted, options));
  } catch (error) {
    if (faultOf(error) !== 'content') throw error;
    return incomplete('the rest of the archive');
  }
}

function refusing(look: () => Finding): Finding {
  try {
    return look();
  } catch (error) {
    if (error instanceof DropdockError && error.code === 'archive.truncated') {
      return { verdict: incomplete('its end mark') };
    }
    if (faultOf(error) === 'content') return { verdict: { kind: 'refused' } };
    throw error;
  }
}

function incomplete(what: string): Verdict {
  const missing = { digest: '', path: what, by: 'the drop', tolerable: false, platform: undefined };
  return { kind: 'incomplete', missing: [missing] };
}

/**
 * Returns what a drop may leave out: what the current snapshot of its repository serves. Uses the same
 * snapshot throughout.
 */
export function publishedOf(
  disk: Disk,
  { roots, id, elsewhere }: Pick<ExamineRequest, 'roots' | 'id' | 'elsewhere'>,
): ReturnType<typeof publishedContent> {
  if (id === undefined) return NOTHING_PUBLISHED;
  if (elsewhere !== undefined) return publishedElsewhere(disk, roots, id, elsewhere);
  return publishedContent(disk, roots, id, readPivot(disk, roots, id));
}

function verdictOf({ missing, content }: Reading): Verdict {
  if (missing.length === 0) return { kind: 'whole' };
  const { manifests, blobs } = content;
  const areBlobs = missing.every(({ digest }) => digest !== '');
  if (!areBlobs) return { kind: 'incomplete', missing };
  return { kind: 'incomplete', missing, of: manifests.length + blobs.length + missing.length };
}
