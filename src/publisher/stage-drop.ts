/**
 * Staging: a claimed drop is read, verified and brought into the content store. Content is named by its digest,
 * so this needs no lock of a repository, and happens once for all targets.
 */

import { type RefusedName, splitBundle } from '../image/bundle.js';
import type { RepositoryName } from '../image/names.js';
import type { BlobToIngest } from '../storage/blob-bytes.js';
import { ingestRequest } from '../storage/into-store.js';
import { allOrFirstError, type Job, type RunJob } from '../storage/job.js';
import { checkSpace } from '../storage/space.js';
import { nothingIngested } from '../storage/stored.js';
import type { TreeRoots } from '../storage/tree-paths.js';
import { type EmitEvent, timed } from './events.js';
import type { DropToPublish, StageRequest, StageResult, StoredDrop } from './stored-drop.js';
import type { StagedDrop } from './target.js';

export interface StagingContext {
  readonly roots: TreeRoots;
  readonly uid: number;
  readonly run: RunJob;
  /** Reads a drop, stores its manifests, and says which blobs are to be ingested. */
  readonly stage: Job<StageRequest, Promise<StageResult>>;
  readonly emit: EmitEvent;
}

/** Hashed in some milliseconds: less is not worth another thread, more is worth one. */
const BATCH_BYTES_MAX = 4 * 1024 * 1024;
const BATCH_BLOBS_MAX = 500;

/**
 * Reads a drop, and brings all of it into the content store.
 * @throws every content error; system errors
 */
export async function stageDrop(
  { roots, run, stage, uid, emit }: StagingContext,
  request: Omit<StageRequest, 'roots' | 'uid'>,
): Promise<StoredDrop> {
  const staged = await timed(emit, 'read', () => run(stage, { roots, uid, ...request }));
  const { content, ingested } = staged;
  const blobs = staged.blobs.map((blob) => ({ ...blob, uid }));
  emit({ type: 'content.hashed', bytes: hashedBytes(staged, blobs) });
  if (blobs.length > 0) await run(checkSpace, { place: roots.state, blobs });
  const ways = await allOrFirstError(
    inBatches(blobs).map((batch) =>
      timed(emit, 'hash', () => run(ingestRequest, { blobs: batch })),
    ),
  );
  emit({ type: 'content.hashed', bytes: blobs.reduce((sum, { size }) => sum + size, 0) });
  const all = { ...ingested };
  for (const way of ways.flat()) all[way]++;
  return { content, ingested: all };
}

/** The largest first, each for itself; of the small ones many together, for their sake. */
function inBatches(blobs: readonly BlobToIngest[]): BlobToIngest[][] {
  const batches: BlobToIngest[][] = [];
  let room = 0;
  for (const blob of [...blobs].sort((a, b) => b.size - a.size)) {
    const last = batches.at(-1);
    if (last && last.length < BATCH_BLOBS_MAX && blob.size <= room) last.push(blob);
    else {
      batches.push([blob]);
      room = BATCH_BYTES_MAX;
    }
    room -= blob.size;
  }
  return batches;
}

/**
 * Bytes of the blobs that were hashed while the drop was read. Manifests are small and not counted.
 * @param others blobs that are hashed by jobs of their own
 */
export function hashedBytes(
  { content }: Pick<StoredDrop, 'content'>,
  others: readonly { readonly digest: string }[] = [],
): number {
  const byJobs = new Set(others.map(({ digest }) => digest));
  return content.blobs
    .filter(({ digest, source }) => source !== 'published' && !byJobs.has(digest))
    .reduce((sum, { size }) => sum + size, 0);
}

/** What one repository gets of a drop. */
export interface DropPart {
  readonly repository: RepositoryName;
  readonly staged: StagedDrop;
}

export interface DropParts {
  readonly parts: readonly DropPart[];
  /** Names inside a bundle for which there is no repository. */
  readonly refused: readonly RefusedName[];
}

/** What must be known of a drop to tell what each repository gets of it. */
export interface DropToSplit extends Pick<DropToPublish, 'name' | 'path' | 'at'> {
  /** Undefined for a bundle. */
  readonly repository: RepositoryName | undefined;
  /** Where a bundle lies, below the inbox. */
  readonly namespace: string;
}

/**
 * One part for most drops; of a bundle one for each repository that is named inside it.
 * @throws tag.conflict; name.invalid and tag.invalid where no image has a name that can be used
 */
export function partsOf(
  { name, path, at, repository, namespace }: DropToSplit,
  { content, ingested }: StoredDrop,
): DropParts {
  const origin = { drop: name, at };
  if (repository !== undefined) {
    return { parts: [{ repository, staged: { origin, path, content, ingested } }], refused: [] };
  }
  const split = splitBundle(content, namespace);
  // How a blob came into the store was counted for the whole.
  const none = nothingIngested();
  const parts = [...split.parts].map(([of, own]) => ({
    repository: of,
    staged: { origin, path, content: own, ingested: none },
  }));
  return { parts, refused: split.refused };
}
