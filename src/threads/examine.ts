/** Is a drop whole? Needs the readers, and what is published. */
import type { Disk } from '../disk/disk.js';
import { InsideDirectory } from '../disk/inside.js';
import { DropdockError, faultOf } from '../errors.js';
import type { RepositoryId, Tag } from '../image/names.js';
import type { Missing } from '../image/staged-content.js';
import { type ClaimRequest, type ClaimResult, takeClaim } from '../inbox/claim.js';
import { isToBeTaken, type Verdict } from '../inbox/settle.js';
import { publishedContent, readPivot } from '../publish/current.js';
import { publishedElsewhere } from '../publish/elsewhere.js';
import type { TreeRoots } from '../publish/paths.js';
import { directoryBundle } from '../readers/directory-bundle.js';
import { readDockerSave } from '../readers/docker-save.js';
import { recogniseDirectory } from '../readers/format.js';
import { readBundle, recogniseBundle } from '../readers/recognise.js';
import type { Timestamp } from '../snapshot/timestamp.js';
import { openPlainTar, packingOf } from './archive.js';

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
      return InsideDirectory.use(disk, path, (inside) => {
        const bundle = directoryBundle(inside);
        // It only begins to look like a drop: its image is on its way.
        if (recogniseDirectory(bundle.entries()) === undefined) return incomplete('index.json');
        const wanted = { tag, fromInside: id === undefined };
        return verdictOf(readBundle(bundle, wanted, published).missing);
      });
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

/**
 * What a drop may leave out.
 * @param base for a look that must be at one snapshot to its end
 */
export function publishedOf(
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

export interface ExamineAndTakeRequest {
  readonly examine: ExamineRequest;
  readonly take: ClaimRequest;
}

export interface Examined {
  readonly verdict: Verdict;
  /** What came of taking it; undefined where it is not to be taken yet. */
  readonly claim: ClaimResult | undefined;
  readonly steps: Readonly<Record<'examine' | 'claim', number>>;
}

/** Looks whether a drop is whole, and takes it where it is: mostly the one follows the other. */
export function examineAndTake(disk: Disk, request: ExamineAndTakeRequest): Examined {
  const beganMs = performance.now();
  const verdict = examine(disk, request.examine);
  const examinedMs = performance.now();
  const claim = isToBeTaken(verdict) ? takeClaim(disk, request.take) : undefined;
  const steps = { examine: examinedMs - beganMs, claim: performance.now() - examinedMs };
  return { verdict, claim, steps };
}
