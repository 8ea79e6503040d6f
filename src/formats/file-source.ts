/** What every reader reads from: named files, wherever they lie: a directory, a tar, a stream. */
import type { BlobSource } from '../image/staged-content.js';

export interface Bundle {
  /** The names at hand; for a directory only those at its top. */
  names(): readonly string[];
  /** The files in a directory of it, by their names in there; left out where `names` has them all. */
  below?(directory: string): readonly string[];
  /**
   * Bytes of a regular file; undefined where there is none.
   * @throws path.outside, file.type
   */
  size(path: string): number | undefined;
  /**
   * A small file, whole; undefined where there is none.
   * @throws limit.exceeded when it is longer than `max` bytes; path.outside, file.type
   */
  read(path: string, max: number): Buffer | undefined;
  /** Where the bytes of a file are read from when it is ingested. */
  source(path: string): BlobSource;
}

/** What a repository's current snapshot holds already, so that a drop may leave it out. */
export interface PublishedContent {
  /** Bytes of a blob it serves; undefined for others. */
  sizeOf(digest: string): number | undefined;
  readManifest(digest: string): Buffer | undefined;
}
