/**
 * Staging: reads and verifies a claimed drop, and brings it into the content store. Content is named by
 * digest, so this needs no lock and happens once for all targets.
 */

import { type RefusedName, splitBundle } from '../image/bundle.js';
import { likelyMistakes } from '../image/likely-mistakes.js';
import type { RepositoryName } from '../image/names.js';
import type { StagedContent } from '../image/staged-content.js';
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
  /** Reads a drop, stores its manifests, and returns the blobs to be ingested. */
  readonly stage: Job<StageRequest, Promise<StageResult>>;
  readonly emit: EmitEvent;
}

/** Hashed within a few milliseconds: enough to be worth a job on another thread. */
const BATCH_BYTES_MAX = 4 * 1024 * 1024;
const BATCH_BLOBS_MAX = 500;

/**
 * Reads a drop and brings its content into the content store.
 * @throws all content errors; system errors
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

/** Large blobs come first, one per batch. Small ones share batches, to save jobs. */
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
 * Returns the bytes of blobs hashed while the drop was read. Manifests are small and not counted.
 * @param others blobs hashed by separate jobs
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

/** The part of a drop that belongs to one repository. */
export interface DropPart {
  readonly repository: RepositoryName;
  readonly staged: StagedDrop;
}

export interface DropParts {
  readonly parts: readonly DropPart[];
  /** Names inside a bundle for which there is no repository. */
  readonly refused: readonly RefusedName[];
}

/** What is needed to split a drop by repository. */
export interface DropToSplit extends Pick<DropToPublish, 'name' | 'path' | 'at' | 'by'> {
  /** Undefined for a bundle. */
  readonly repository: RepositoryName | undefined;
  /** Namespace of a bundle, below the inbox. */
  readonly namespace: string;
}

/**
 * Returns one part for a drop, or one per repository named inside a bundle.
 * @throws tag.conflict; name.invalid and tag.invalid when no image has a usable name
 */
export function partsOf(
  { name, path, at, by, repository, namespace }: DropToSplit,
  { content, ingested }: StoredDrop,
): DropParts {
  const origin = { drop: name, at };
  if (repository !== undefined) {
    const staged = { origin, by, path, content: withMistakes(repository, content), ingested };
    return { parts: [{ repository, staged }], refused: [] };
  }
  const split = splitBundle(content, namespace);
  // Ingested blobs were counted for the whole bundle.
  const none = nothingIngested();
  const parts = [...split.parts].map(([of, own]) => ({
    repository: of,
    staged: { origin, by, path, content: withMistakes(of, own), ingested: none },
  }));
  return { parts, refused: split.refused };
}

function withMistakes(repository: RepositoryName, content: StagedContent): StagedContent {
  const mistakes = likelyMistakes(repository, content);
  return mistakes.length === 0 ? content : { ...content, mistakes };
}
