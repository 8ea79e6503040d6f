/** Creates many small drops in advance. */

import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { type Image, image, sha256, writeLayout } from './layout.js';

export interface SmallDrop {
  readonly path: string;
  readonly repository: string;
  readonly tag: string;
  readonly image: Image;
}

/** An image with one layer of a kilobyte, with unique content. */
export function smallImage(mark: string, directory: string): Image {
  const inner = randomBytes(1024);
  const bytes = gzipSync(inner, { level: 0 });
  const path = join(directory, `layer-${mark}`);
  writeFileSync(path, bytes);
  const layer = { path, digest: sha256(bytes), size: bytes.length, diffId: sha256(inner) };
  return image([layer], mark);
}

/** @param tagOf returns the tag of a drop: the same for all, or one each */
export function smallDrops(
  directory: string,
  {
    count,
    repositories,
    tagOf,
  }: { count: number; repositories: number; tagOf: (turn: number) => string },
): SmallDrop[] {
  mkdirSync(directory, { recursive: true });
  return Array.from({ length: count }, (_none, at) => {
    const repository = `repo-${String(at % repositories).padStart(4, '0')}`;
    const tag = tagOf(Math.floor(at / repositories));
    const path = join(directory, `drop-${at}`);
    const made = smallImage(String(at), directory);
    writeLayout(path, [{ image: made, tag }], { layers: 'moved' });
    return { path, repository, tag, image: made };
  });
}
