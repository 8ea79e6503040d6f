/** A drop on its way into the content store. Values only. */

import type { RepositoryId, Tag } from '../image/names.js';
import type { StagedContent } from '../image/staged-content.js';
import type { Timestamp } from '../repository/timestamp.js';
import type { BlobToIngest } from '../storage/blob-bytes.js';
import type { Progress } from '../storage/progress.js';
import type { Ingested } from '../storage/stored.js';
import type { TreeRoots } from '../storage/tree-paths.js';

/** A claimed drop, or a directory or archive given by hand. */
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
  /** Its end is known, so platforms that are absent will not come. */
  readonly tolerateAbsent: boolean;
  /** 'copy' where the drop stays with its owner. */
  readonly ingest: 'auto' | 'copy';
  /** Counts the bytes that were read, for people who watch. */
  readonly progress?: Progress;
  /** What is done with the layers of old docker-save archives. */
  readonly compress: 'gzip' | 'none';
}

/** Reads one drop, stores its manifests, and says which blobs are to be ingested. */
export interface StageRequest {
  readonly roots: TreeRoots;
  /** Undefined for a bundle: nothing it leaves out is looked for. */
  readonly id: RepositoryId | undefined;
  readonly transaction: string;
  readonly drop: DropToPublish;
  /** The user this process runs as. */
  readonly uid: number;
  /** The repository's targets, where the directory is none of them. */
  readonly elsewhere?: readonly string[] | undefined;
}

/** What was read of a drop, all of it in the content store. */
export interface StoredDrop {
  readonly content: StagedContent;
  readonly ingested: Readonly<Record<Ingested, number>>;
}

export interface StageResult extends StoredDrop {
  /** What is still to be brought into the store: all but what is small. */
  readonly blobs: readonly Omit<BlobToIngest, 'uid'>[];
}
