/** What every reader reads from: named files, wherever they lie. A directory now, archives next. */

export interface Bundle {
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
}

/** What a repository's current snapshot holds already, so that a drop may leave it out. */
export interface PublishedContent {
  has(digest: string): boolean;
  readManifest(digest: string): Buffer | undefined;
}
