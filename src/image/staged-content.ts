/**
 * The result of every reader: the content of a drop by digest, with the source of each byte. Only manifests
 * are verified yet; they are small enough to hash at once.
 */
import type { Digest } from './digest.js';
import type { Descriptor, Manifest } from './manifest.js';
import type { Tag } from './names.js';

/** The place of a blob's bytes. */
export interface BlobSource {
  /** Path below the drop; an absolute path for a spooled file. */
  readonly path: string;
  /** Offset of the bytes in an archive. */
  readonly offset?: number;
  /** The digest of the bytes, if they were hashed on their way to the work area. */
  readonly spooled?: string;
}

export interface StagedManifest {
  readonly digest: Digest;
  /** The digest of the stored bytes, if it differs from the manifest's digest (signed Docker schema 1). */
  readonly stored?: Digest;
  readonly size: number;
  readonly manifest: Manifest;
  /** The verified bytes; undefined if the repository's current snapshot contains them. */
  readonly bytes: Uint8Array | undefined;
  /** The place they were read from. */
  readonly source?: BlobSource;
}

export interface StagedBlob {
  readonly digest: Digest;
  readonly size: number;
  /** The place of the bytes; 'published' if the repository's current snapshot contains them (a thin drop). */
  readonly source: BlobSource | { readonly data: Uint8Array } | 'published';
}

/** An image or artifact listed in a drop. */
export interface StagedRoot {
  readonly digest: Digest;
  readonly tags: readonly Tag[];
  /** Its names in the drop: bare tags and full references. */
  readonly names: readonly string[];
}

/** Content that was not published, and why; listed in the receipt. */
export interface LeftOut {
  readonly what: string;
  readonly why: string;
  /** True if the drop contains it, so it was expected to be published: a warning in receipt and log. */
  readonly isHeld?: boolean;
}

export interface StagedContent {
  readonly roots: readonly StagedRoot[];
  /** All manifests the roots refer to, children before parents. */
  readonly manifests: readonly StagedManifest[];
  readonly blobs: readonly StagedBlob[];
  readonly leftOut: readonly LeftOut[];
  readonly warnings: readonly string[];
  /** Likely mistakes of the uploader: warnings of the receipt that are logged as well. */
  readonly mistakes?: readonly string[];
}

/** A file that a drop refers to and that is missing or incomplete. */
export interface Missing {
  readonly digest: string;
  readonly path: string;
  /** The parent that refers to it. */
  readonly by: string;
  /** True if the image can be published without it: an absent platform of an index. */
  readonly tolerable: boolean;
  readonly platform: string | undefined;
  /** What is wrong with a file that is there but not complete: `is not valid JSON yet`. */
  readonly problem?: string;
}

/** The result of a reader: a complete drop, or the files that are missing. */
export interface Reading {
  readonly content: StagedContent;
  readonly missing: readonly Missing[];
}

export type { Descriptor };
