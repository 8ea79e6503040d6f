/** Is a drop whole? Needs the readers, and what is published. */

import { DropdockError, faultOf } from '../errors.js';
import { endsInZeros, openPlainTar, packingOf } from '../formats/archive.js';
import { directoryBundle } from '../formats/directory-bundle.js';
import type { Bundle } from '../formats/file-source.js';
import { recogniseDirectory } from '../formats/format.js';
import { readBundle } from '../formats/recognise.js';
import type { RepositoryId, Tag } from '../image/names.js';
import type { Missing, Reading } from '../image/staged-content.js';
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
  /** Of the drop, below the inbox. */
  readonly path: string;
  readonly kind: 'directory' | 'file';
  readonly tag: Tag | undefined;
  /** The repository's targets, where the directory is none of them. */
  readonly elsewhere?: readonly string[] | undefined;
}

/** What looking at a drop found. */
export interface Finding {
  readonly verdict: Verdict;
  /** What was read of a directory that is whole. */
  readonly reading?: Reading;
}

/** Is the drop whole? What can never be is found again, with its reason, when it is published. */
export function examineDirectory(
  disk: Disk,
  request: ExamineRequest,
  inside: InsideDirectory,
): Finding {
  return refusing(() => {
    const bundle = directoryBundle(inside);
    // It only begins to look like a drop: its image is on its way.
    if (recogniseDirectory(bundle.entries()) === undefined) {
      return { verdict: incomplete('index.json') };
    }
    const { id, tag } = request;
    const options = { published: publishedOf(disk, request), isEndKnown: false };
    const reading = readBundle(bundle, { tag, fromInside: id === undefined }, options);
    const verdict = verdictOf(reading.missing);
    // Layers that have to be compressed take long: they are stored by a job of their own.
    return reading.unnamed.saved.length > 0 ? { verdict } : { verdict, reading };
  });
}

/** The same for an archive. */
export function examineFile(disk: Disk, request: ExamineRequest): Finding {
  const { inbox, path } = request;
  return refusing(() => {
    const packing = packingOf(disk, inbox, path);
    if (packing === undefined) return { verdict: { kind: 'stranger' } };
    if (packing === 'unsupported') return { verdict: { kind: 'refused' } };
    if (packing === 'tar') {
      // The end mark is there: nothing more will come, and what is missing is told when it is published.
      return openPlainTar(disk, inbox, path, ({ bundle, isPreallocated }) => ({
        verdict: isPreallocated ? examinePreallocated(disk, request, bundle) : { kind: 'whole' },
      }));
    }
    // Only reading all of a compressed archive tells whether it is whole; publishing it does.
    return { verdict: endsInZeros(disk, inbox, path) ? incomplete('its end') : { kind: 'whole' } };
  });
}

/** What looks like the end mark may be room that its writer made for the rest, as copying over SMB does. */
function examinePreallocated(disk: Disk, request: ExamineRequest, bundle: Bundle): Verdict {
  const { id, tag } = request;
  const wanted = { tag, fromInside: id === undefined };
  try {
    const options = { published: publishedOf(disk, request), isEndKnown: false };
    return verdictOf(readBundle(bundle, wanted, options).missing);
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

/** What a drop may leave out: what the current snapshot of its repository serves, one snapshot to the end. */
export function publishedOf(
  disk: Disk,
  { roots, id, elsewhere }: Pick<ExamineRequest, 'roots' | 'id' | 'elsewhere'>,
): ReturnType<typeof publishedContent> {
  if (id === undefined) return NOTHING_PUBLISHED;
  if (elsewhere !== undefined) return publishedElsewhere(disk, roots, id, elsewhere);
  return publishedContent(disk, roots, id, readPivot(disk, roots, id));
}

function verdictOf(missing: readonly Missing[]): Verdict {
  return missing.length === 0 ? { kind: 'whole' } : { kind: 'incomplete', missing };
}
