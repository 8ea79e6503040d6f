/** Large drops in little memory, and an event loop that never waits for them. */
import { createHash } from 'node:crypto';
import {
  closeSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  renameSync,
  statSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { DaemonProcess } from '../support/daemon-process.js';
import { TestContent } from '../support/make-image.js';
import { receipts } from '../support/service.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { waitFor } from '../support/wait-for.js';

const GIB = 1024 ** 3;

/** Four layers of a GiB of zeros each but for their ends, as sparse files. */
function makeLargeLayout(path: string): void {
  const content = new TestContent();
  const zeros = Buffer.alloc(16 * 1024 * 1024);
  const shared = createHash('sha256');
  for (let at = 0; at < GIB; at += zeros.length) shared.update(zeros);
  const layers = [0, 1, 2, 3].map((n) => {
    const end = Buffer.from(`layer ${n}`);
    const digest = `sha256:${shared.copy().update(end).digest('hex')}`;
    const file = join(path, 'blobs', digest.replace(':', '/'));
    mkdirSync(join(path, 'blobs/sha256'), { recursive: true });
    const fd = openSync(file, 'w');
    ftruncateSync(fd, GIB);
    closeSync(fd);
    appendTo(file, end);
    const mediaType = 'application/vnd.oci.image.layer.v1.tar';
    return { mediaType, digest, size: statSync(file).size };
  });
  const config = content.add('{"os":"linux"}', 'application/vnd.oci.image.config.v1+json');
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const manifest = { schemaVersion: 2, mediaType, config, layers };
  const image = content.add(JSON.stringify(manifest), mediaType);
  content.writeLayout(path, [{ image, tag: '1' }]);
}

function appendTo(file: string, bytes: Buffer): void {
  const fd = openSync(file, 'r+');
  writeSync(fd, bytes, 0, bytes.length, GIB);
  closeSync(fd);
}

describe('a drop of 4 GiB', function () {
  this.timeout(180_000);
  let daemon: DaemonProcess | undefined;

  afterEach(async () => {
    await daemon?.stop('SIGKILL');
    removeTempDirs();
  });

  it('is published by a process with 64 MiB of JavaScript heap', async () => {
    const root = tempDir();
    makeLargeLayout(join(root, 'aside'));
    daemon = await DaemonProcess.start(root, { nodeOptions: ['--max-old-space-size=64'] });
    renameSync(join(root, 'aside'), join(root, 'inbox/big'));
    const [receipt] = await waitFor(
      'the receipt',
      () => receipts(root).length > 0 && receipts(root),
      150_000,
    );
    expect(receipt?.status).to.equal('published');
    expect(receipt?.ingested).to.include({ linked: 5 });
  });
});
