/** The result of a reader, before its images are tagged. */
import type { Digest } from '../image/digest.js';
import type {
  BlobSource,
  LeftOut,
  Missing,
  Reading,
  StagedBlob,
  StagedManifest,
} from '../image/staged-content.js';
import { type NamedRoot, nameRoots, type WantedName } from './name-roots.js';

/** An image as the archive describes it; its layers are not read yet. */
export interface SavedImage {
  /** Full references: `registry/app:1.0`. */
  readonly names: readonly string[];
  readonly config: Buffer;
  readonly configDigest: Digest;
  readonly layers: readonly SavedLayer[];
}

export interface SavedLayer {
  readonly path: string;
  readonly source: BlobSource;
  readonly size: number;
  /** The digest of the uncompressed layer. */
  readonly diffId: Digest;
}

export interface UnnamedReading {
  /** The images listed in the drop. */
  readonly listed: readonly NamedRoot[];
  readonly manifests: readonly StagedManifest[];
  readonly blobs: readonly StagedBlob[];
  readonly leftOut: readonly LeftOut[];
  readonly warnings: readonly string[];
  readonly missing: readonly Missing[];
  /** Images without a manifest. It is built after their layers are stored; then they are tagged. */
  readonly saved: readonly SavedImage[];
}

export const NOTHING_READ: UnnamedReading = {
  listed: [],
  manifests: [],
  blobs: [],
  leftOut: [],
  warnings: [],
  missing: [],
  saved: [],
};

/** The result of reading a drop. */
export interface BundleReading extends Reading {
  /** If `saved` has images, `content` is empty until they are stored. */
  readonly unnamed: UnnamedReading;
}

/** @throws tag.ambiguous, tag.conflict */
export function nameReading(unnamed: UnnamedReading, wanted: WantedName): BundleReading {
  const { listed, manifests, blobs, leftOut, missing, saved } = unnamed;
  if (listed.length === 0 || saved.length > 0) {
    const content = { roots: [], manifests: [], blobs: [], leftOut, warnings: [] };
    return { content, missing, unnamed };
  }
  const { roots, warnings } = nameRoots(listed, manifests, wanted);
  const all = [...warnings, ...unnamed.warnings];
  return { content: { roots, manifests, blobs, leftOut, warnings: all }, missing, unnamed };
}

/** A file without which a drop is incomplete. */
export function missingFile(path: string, by: string, problem?: string): Missing {
  const missing = { digest: '', path, by, tolerable: false, platform: undefined };
  return problem === undefined ? missing : { ...missing, problem };
}
