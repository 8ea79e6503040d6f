/** The interface that every reader reads from: named files in a directory, a tar or a stream. */
import type { BlobSource } from '../image/staged-content.js';

export interface Bundle {
  /** The known names; for a directory only those at its top. */
  names(): readonly string[];
  /** The names of the files in a subdirectory; not defined if `names` already returns all of them. */
  below?(directory: string): readonly string[];
  /**
   * Length in bytes of a regular file; undefined if there is none.
   * @throws path.outside, file.type
   */
  size(path: string): number | undefined;
  /**
   * Reads a small file completely; undefined if there is none.
   * @throws limit.exceeded if it is longer than `max` bytes; path.outside, file.type
   */
  read(path: string, max: number): Buffer | undefined;
  /** The source of a file's bytes when it is stored. */
  source(path: string): BlobSource;
}

/** Content of the repository's current snapshot, which a drop may leave out. */
export interface PublishedContent {
  /** Length in bytes of a blob that is served; undefined for other blobs. */
  sizeOf(digest: string): number | undefined;
  readManifest(digest: string): Buffer | undefined;
}
