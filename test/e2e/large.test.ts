/** Large drops with little memory, and an event loop that they never block. */
import { createHash } from 'node:crypto';
import {
  closeSync,
  existsSync,
  openSync,
  renameSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { DaemonProcess } from '../support/daemon-process.js';
import { blobPath, TestContent } from '../support/make-image.js';
import { makeTar, tarMembers } from '../support/make-tar.js';
import { receipts } from '../support/service.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { waitFor } from '../support/wait-for.js';

const GIB = 1024 ** 3;

/** Layers of a GiB of zeros each but for their ends, and the image they make. */
function makeLargeImage(count: number) {
  const content = new TestContent();
  const zeros = Buffer.alloc(16 * 1024 * 1024);
  const shared = createHash('sha256');
  for (let at = 0; at < GIB; at += zeros.length) shared.update(zeros);
  const layers = Array.from({ length: count }, (_, n) => {
    const end = Buffer.from(`layer ${n}`);
    const digest = `sha256:${shared.copy().update(end).digest('hex')}`;
    const mediaType = 'application/vnd.oci.image.layer.v1.tar';
    return { end, layer: { mediaType, digest, size: GIB + end.length } };
  });
  const config = content.add('{"os":"linux"}', 'application/vnd.oci.image.config.v1+json');
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const manifest = {
    schemaVersion: 2,
    mediaType,
    config,
    layers: layers.map(({ layer }) => layer),
  };
  return { content, layers, image: content.add(JSON.stringify(manifest), mediaType) };
}

/** Writes what is not zero of a layer; the file stays sparse. */
function writeEnd(file: string, offset: number, end: Buffer): void {
  const fd = openSync(file, existsSync(file) ? 'r+' : 'w');
  writeSync(fd, end, 0, end.length, offset + GIB);
  closeSync(fd);
}

function makeLargeLayout(path: string): void {
  const { content, layers, image } = makeLargeImage(4);
  content.writeLayout(path, [{ image, tag: '1' }]);
  for (const { end, layer } of layers) writeEnd(blobPath(path, layer.digest), 0, end);
}

function makeLargeArchive(file: string, directory: string): void {
  const { content, layers, image } = makeLargeImage(3);
  content.writeLayout(directory, [{ image, tag: '1' }]);
  const small = makeTar(tarMembers(directory), { endMark: false });
  writeFileSync(file, small);
  let at = small.length;
  for (const { end, layer } of layers) {
    const path = `blobs/${layer.digest.replace(':', '/')}`;
    const header = makeTar([{ path, size: layer.size }], { endMark: false });
    const fd = openSync(file, 'r+');
    writeSync(fd, header, 0, header.length, at);
    closeSync(fd);
    writeEnd(file, at + header.length, end);
    at += header.length + Math.ceil(layer.size / 512) * 512;
  }
  truncateSync(file, at + 1024);
}

describe('a large drop', function () {
  this.timeout(300_000);
  let daemon: DaemonProcess | undefined;

  afterEach(async () => {
    await daemon?.stop('SIGKILL');
    removeTempDirs();
  });

  it('of 4 GiB is published by a process with 64 MiB of JavaScript heap', async () => {
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

  it('of 3 GiB in one archive is published with the same heap', async () => {
    const root = tempDir();
    makeLargeArchive(join(root, 'aside.tar'), join(root, 'small'));
    daemon = await DaemonProcess.start(root, { nodeOptions: ['--max-old-space-size=64'] });
    renameSync(join(root, 'aside.tar'), join(root, 'inbox/big.tar'));
    const [receipt] = await waitFor(
      'the receipt',
      () => receipts(root).length > 0 && receipts(root),
      280_000,
    );
    expect(receipt?.status, receipt?.message).to.equal('published');
    expect(receipt?.ingested).to.include({ copied: 4 });
  });
});
