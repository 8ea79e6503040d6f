/** What goes into a publish, and what comes out of it for each drop. Values only. */

import type { BlobToIngest } from '../disk/blob-bytes.js';
import type { Disk } from '../disk/disk.js';
import type { Progress } from '../disk/progress.js';
import type { Ingested } from '../disk/stored.js';
import type { PlainError } from '../errors.js';
import type { Digest } from '../image/digest.js';
import type { Tag } from '../image/names.js';
import type { LeftOut, StagedContent } from '../image/staged-content.js';
import type { StoredForm } from '../snapshot/convert.js';
import type { ClockReading } from '../snapshot/elapsed.js';
import type { TagMove } from '../snapshot/merge.js';
import type { Timestamp } from '../snapshot/timestamp.js';
import type { BuildResult } from './build.js';
import type { Opened, OpenRequest } from './jobs.js';
import type { RepositoryPolicy } from './next-snapshot.js';
import type { TreeRoots } from './paths.js';

/** A claimed drop, or a directory given by hand. */
export interface DropToPublish {
  /** Its path below the inbox, for people. */
  readonly name: string;
  /** Where it lies; an absolute path. */
  readonly path: string;
  readonly kind: 'directory' | 'file';
  readonly at: Timestamp;
  readonly tag: Tag | undefined;
  /** A bundle: its repositories are named inside it. */
  readonly fromInside?: boolean;
  /** A part of a bundle, read and stored already. */
  readonly staged?: StagedContent;
  /** What was read and stored of it when it was taken. */
  readonly early?: StagedEarly | undefined;
  /** Its end is known, so platforms that are absent will not come. */
  readonly tolerateAbsent: boolean;
  /** 'copy' where the drop stays with its owner. */
  readonly ingest: 'auto' | 'copy';
  /** Counts the bytes that were read, for somebody who watches. */
  readonly progress?: Progress;
  /** What is done with the layers of old docker-save archives. */
  readonly compress: 'gzip' | 'none';
}

/** All of a small drop, in the store before its repository's turn. */
export interface StagedEarly {
  readonly content: StagedContent;
  readonly ingested: Readonly<Record<Ingested, number>>;
  /** Its images in their Docker form, where they are given it; by the digest of the original. */
  readonly forms: ReadonlyMap<Digest, StoredForm>;
  /** The snapshot that holds what it leaves out; undefined where it leaves out nothing. */
  readonly base: Timestamp | null | undefined;
}

/** Undefined where it must be read again: what it leaves out may be there no more. */
export function earlyOf({ early }: DropToPublish, base: Timestamp | null): StagedEarly | undefined {
  return early?.base === undefined || early.base === base ? early : undefined;
}

/** Reads one drop, stores its manifests, and says which blobs are to be ingested. */
export interface StageRequest {
  readonly roots: TreeRoots;
  /** Undefined for a bundle: nothing it leaves out is looked for. */
  readonly id: RepositoryPolicy['id'] | undefined;
  readonly base: Timestamp | null;
  readonly transaction: string;
  readonly drop: DropToPublish;
  /** The user this process runs as. */
  readonly uid: number;
  /** The repository's targets, where the directory is none of them. */
  readonly elsewhere?: readonly string[] | undefined;
}
export interface StageResult {
  readonly content: StagedContent;
  /** What is still to be brought into the store: all but what is small. */
  readonly blobs: readonly Omit<BlobToIngest, 'uid'>[];
  /** How the others came there. */
  readonly ingested: Readonly<Record<Ingested, number>>;
}
/** The directories of one turn. */
export interface StageTogetherRequest extends Omit<StageRequest, 'drop'> {
  readonly drops: readonly DropToPublish[];
}
/** Each for itself: a bad one holds back none of the others. */
export type StageAnswer =
  | StageResult
  | { readonly error: PlainError }
  /** Its layers are to be compressed or unpacked, which takes long: the others do not wait for it. */
  | { readonly isToStageAlone: true };
/** Steps 3 to 8 of a turn whose drops are few, and directories, in one go. */
export interface ReadAndBuildRequest {
  readonly open: OpenRequest;
  readonly policy: RepositoryPolicy;
  readonly uid: number;
  readonly nowMs: number;
  /** See `NextRequest`. */
  readonly clock: ClockReading;
  /** In the order in which they are named in `open`. */
  readonly drops: readonly DropToPublish[];
}
export interface ReadAndBuilt extends Opened {
  /** In the order of the drops; null for what was published before, or staged early. */
  readonly read: readonly (StageAnswer | null)[];
  /** Undefined where there was nothing to build yet: nothing was read, or something is still to be hashed. */
  readonly built: BuildResult | undefined;
  /** How long each took (ms). */
  readonly steps: Readonly<Record<'mend' | 'read' | 'build', number>>;
}
export type StageJob = {
  readonly readAndBuild: (disk: Disk, request: ReadAndBuildRequest) => ReadAndBuilt;
  readonly stage: (disk: Disk, request: StageRequest) => Promise<StageResult>;
  readonly stageTogether: (disk: Disk, request: StageTogetherRequest) => readonly StageAnswer[];
};

export interface PublishedDrop {
  readonly status: 'published' | 'unchanged';
  readonly drop: DropToPublish;
  readonly snapshot: Timestamp | null;
  readonly base: Timestamp | null;
  readonly moves: readonly TagMove[];
  readonly content: StagedContent;
  readonly ingested: Readonly<Record<Ingested, number>>;
  readonly leftOut: readonly LeftOut[];
  /** What each target made of it, where there are others than the directory. */
  readonly targets?: Readonly<Record<string, object>>;
}

/** What became of a drop. */
export type DropOutcome =
  | PublishedDrop
  | { readonly status: 'rejected'; readonly drop: DropToPublish; readonly error: Error }
  | { readonly status: 'retry'; readonly drop: DropToPublish; readonly error: Error };
