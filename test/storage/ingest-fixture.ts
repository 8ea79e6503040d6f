/** A drop with one layer in it, and the destination of that layer. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Digest } from '#src/image/digest.js';
import type { BlobToIngest } from '#src/storage/blob-bytes.js';
import { type Disk, nodeDisk } from '#src/storage/disk.js';
import { ingestBlob } from '#src/storage/into-store.js';
import type { Ingested } from '#src/storage/stored.js';
import { interfereWith, systemError } from '../support/faulty-disk.js';
import { sha256 } from '../support/make-image.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';

export const TEXT = 'the bytes of a layer';

/** So that a copy is a copy whatever filesystem the tests run on. */
export const withoutClones = interfereWith(nodeDisk, (operation) => {
  if (operation.verb === 'clone') throw systemError('EOPNOTSUPP', operation);
});

export class IngestFixture {
  blob = {} as BlobToIngest;
  /** The layer in the drop. */
  file = '';

  constructor() {
    beforeEach(() => {
      const root = tempDir();
      for (const name of ['drop', 'work']) mkdirSync(join(root, name));
      this.file = join(root, 'drop', 'layer');
      writeFileSync(this.file, TEXT, { mode: 0o644 });
      this.blob = {
        digest: sha256(TEXT) as Digest,
        size: TEXT.length,
        root: join(root, 'drop'),
        path: 'layer',
        destination: join(root, 'content', 'sha256', '12', '1234'),
        temporary: join(root, 'work', 'temporary'),
        ingest: 'auto',
        uid: process.getuid?.() ?? 0,
      };
    });
    afterEach(removeTempDirs);
  }

  ingest(change: Partial<BlobToIngest> = {}, disk: Disk = withoutClones): Ingested {
    return ingestBlob(disk, { ...this.blob, ...change });
  }

  /** Puts something into the store before the drop comes. */
  store(text: string): void {
    mkdirSync(dirname(this.blob.destination), { recursive: true });
    writeFileSync(this.blob.destination, text, { mode: 0o444 });
  }

  stored(): string {
    return readFileSync(this.blob.destination, 'utf8');
  }
}

/** A disk on which something happens just before the first call of a verb. */
export function justBefore(verb: keyof Disk, happens: () => void): Disk {
  let done = false;
  return interfereWith(withoutClones, (operation) => {
    if (done || operation.verb !== verb) return;
    done = true;
    happens();
  });
}
