/** Blobs of many megabytes on real threads. */
import { existsSync, linkSync, readdirSync, statSync, truncateSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect } from 'chai';
import type { Digest } from '#src/image/digest.js';
import type { BlobToIngest } from '#src/storage/blob-bytes.js';
import { ingestRequest } from '#src/storage/into-store.js';
import { ThreadPool } from '#src/workers/thread-pool.js';
import { IngestFixture } from '../storage/ingest-fixture.js';
import { sha256 } from '../support/make-image.js';
import { refusalOf } from '../support/refusal.js';

describe('ThreadPool', () => {
  const given = new IngestFixture();
  let pool: ThreadPool;

  before(() => {
    pool = new ThreadPool({ hashThreads: 2 });
  });
  after(() => pool.close());

  const size = 64 * 1024 * 1024 + 1;
  const large = (change: Partial<BlobToIngest> = {}): BlobToIngest => {
    truncateSync(given.file, size);
    const digest = sha256(Buffer.concat([Buffer.from('the bytes of a layer')], size)) as Digest;
    return { ...given.blob, digest, size, ...change };
  };
  const isTidy = () => readdirSync(dirname(given.blob.temporary)).length === 0;

  it('copies a large blob, and returns after it has its name', async () => {
    const blob = large({ ingest: 'copy' });
    const [way] = await pool.run(ingestRequest, { blobs: [blob] });
    expect(way).to.be.oneOf(['copied', 'cloned']);
    expect(statSync(blob.destination)).to.include({ size, nlink: 1 });
    expect(isTidy()).to.equal(true);
    expect(await pool.run(ingestRequest, { blobs: [blob] })).to.deep.equal(['present']);
  });

  it('links a large blob', async () => {
    const blob = large();
    const [way] = await pool.run(ingestRequest, { blobs: [blob] });
    expect(way).to.be.oneOf(['linked', 'cloned']);
    expect(statSync(blob.destination).mode & 0o7777).to.equal(0o444);
    expect(isTidy()).to.equal(true);
  });

  it('stores several blobs at once', async () => {
    const blobs = ['a', 'b', 'c', 'd'].map((name) => {
      linkSync(given.file, join(given.blob.root, name));
      const [destination, temporary] = [given.blob.destination, given.blob.temporary];
      const names = { destination: destination + name, temporary: temporary + name };
      return large({ path: name, ...names });
    });
    await Promise.all(blobs.map((blob) => pool.run(ingestRequest, { blobs: [blob] })));
    for (const { destination } of blobs) expect(statSync(destination).size).to.equal(size);
    expect(isTidy()).to.equal(true);
  });

  it('rejects a large blob with other bytes', async () => {
    const blob = large({ digest: sha256('other') as Digest });
    const { code } = await refusalOf(pool.run(ingestRequest, { blobs: [blob] }));
    expect(code).to.equal('digest.mismatch');
    expect(existsSync(blob.destination)).to.equal(false);
    expect(isTidy()).to.equal(true);
  });

  it('fails a job whose blob cannot be given its name', async () => {
    const blob = large({ destination: join(given.file, 'below', 'a file') });
    const failed = await pool.run(ingestRequest, { blobs: [blob] }).catch((error) => error.code);
    expect(failed).to.equal('ENOTDIR');
  });
});
