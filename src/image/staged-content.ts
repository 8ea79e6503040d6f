/**
 * The one shape every reader returns: what a drop holds, named by digest, with a way to each byte.
 * Nothing in it is verified but the manifests, whose bytes were small enough to hash at once.
 */
import type { Digest } from './digest.js';
import type { Descriptor, Manifest } from './manifest.js';
import type { Tag } from './names.js';

/** Where the bytes of a blob are. */
export interface BlobSource {
  /** Below the drop; an absolute path for what was spooled. */
  readonly path: string;
  /** Where they begin, in an archive. */
  readonly offset?: number;
  /** What they hash to, when they were hashed on their way to the work area. */
  readonly spooled?: string;
}

export interface StagedManifest {
  readonly digest: Digest;
  /** What its bytes hash to, where that is not its digest (signed Docker schema 1). */
  readonly stored?: Digest;
  readonly size: number;
  readonly manifest: Manifest;
  /** The verified bytes; undefined when the repository's current snapshot holds them. */
  readonly bytes: Uint8Array | undefined;
  /** Where they were read. */
  readonly source?: BlobSource;
}

export interface StagedBlob {
  readonly digest: Digest;
  readonly size: number;
  /** Where to read it; 'published' when the repository's current snapshot has it (a thin drop). */
  readonly source: BlobSource | { readonly data: Uint8Array } | 'published';
}

/** An image or artifact that a drop names. */
export interface StagedRoot {
  readonly digest: Digest;
  readonly tags: readonly Tag[];
  /** What it is called inside the drop: bare tags and full references. */
  readonly names: readonly string[];
}

/** Something that was not published, and why; it stands in the receipt. */
export interface LeftOut {
  readonly what: string;
  readonly why: string;
  /** The drop holds it, so it was expected to be published: a warning in the receipt and the log. */
  readonly isHeld?: boolean;
}

export interface StagedContent {
  readonly roots: readonly StagedRoot[];
  /** What the roots reach, children before what refers to them. */
  readonly manifests: readonly StagedManifest[];
  readonly blobs: readonly StagedBlob[];
  readonly leftOut: readonly LeftOut[];
  readonly warnings: readonly string[];
}

/** Something a drop refers to and does not (yet) hold in full. */
export interface Missing {
  readonly digest: string;
  readonly path: string;
  /** What refers to it. */
  readonly by: string;
  /** True when an image can do without it: a platform of an index that is absent altogether. */
  readonly tolerable: boolean;
  readonly platform: string | undefined;
}

/** What a reader finds: a whole drop, or what keeps it from being one. */
export interface Reading {
  readonly content: StagedContent;
  readonly missing: readonly Missing[];
}

export type { Descriptor };
