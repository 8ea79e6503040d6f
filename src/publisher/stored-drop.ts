/** Types of a drop on its way into the content store. */

import type { RepositoryId, Tag } from '../image/names.js';
import type { StagedContent } from '../image/staged-content.js';
import type { Timestamp } from '../repository/timestamp.js';
import type { BlobToIngest } from '../storage/blob-bytes.js';
import type { Progress } from '../storage/progress.js';
import type { Ingested } from '../storage/stored.js';
import type { TreeRoots } from '../storage/tree-paths.js';

/** A claimed drop, or a directory or archive given on the command line. */
export interface DropToPublish {
  /** Its path in the inbox, for messages. */
  readonly name: string;
  /** Absolute path of the drop. */
  readonly path: string;
  readonly kind: 'directory' | 'file';
  readonly at: Timestamp;
  /** Its owner, or the user who runs the command; undefined if unknown. */
  readonly by?: string | undefined;
  readonly tag: Tag | undefined;
  /** A bundle: its repositories are named inside. */
  readonly fromInside?: boolean;
  /** The drop is final, so missing platforms are not waited for. */
  readonly tolerateAbsent: boolean;
  /** 'copy' when the drop stays with its owner. */
  readonly ingest: 'auto' | 'copy';
  /** Counts the bytes read, for progress output. */
  readonly progress?: Progress;
  /** Compression for the layers of legacy docker-archives. */
  readonly compress: 'gzip' | 'none';
}

/** Reads a drop, stores its manifests, and returns the blobs to be ingested. */
export interface StageRequest {
  readonly roots: TreeRoots;
  /** Undefined for a bundle, which may not leave out content. */
  readonly id: RepositoryId | undefined;
  readonly transaction: string;
  readonly drop: DropToPublish;
  /** User id of this process. */
  readonly uid: number;
  /** The repository's targets, when the directory is not one of them. */
  readonly elsewhere?: readonly string[] | undefined;
}

/** What was read of a drop; all of it is in the content store. */
export interface StoredDrop {
  readonly content: StagedContent;
  readonly ingested: Readonly<Record<Ingested, number>>;
}

export interface StageResult extends StoredDrop {
  /** Blobs still to be brought into the store: all but the small ones. */
  readonly blobs: readonly Omit<BlobToIngest, 'uid'>[];
}
