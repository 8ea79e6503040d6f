import { join } from 'node:path';
import { expect } from 'chai';
import { ask } from '../support/ask.js';
import { DaemonProcess } from '../support/daemon-process.js';
import { Download, openCount, residentMiB } from '../support/downloads.js';
import { layerBytes, makeLayout, sha256 } from '../support/make-image.js';
import { resize } from '../support/published-file.js';
import { receipts } from '../support/service.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { waitFor } from '../support/wait-for.js';

const LAYER = sha256(layerBytes('layer'));
const BLOB = `/v2/app/blobs/${LAYER}`;
const MIB = 1024 * 1024;
const CLIENTS = 64;
/** 512 KiB for each, and room for what the garbage collector has not seen yet. */
const GROWTH_MIB_MAX = CLIENTS + 96;

describe('many downloads', function () {
  this.timeout(60_000);
  let root: string;
  let daemon: DaemonProcess;
  let downloads: Download[];

  before(async () => {
    root = tempDir();
    daemon = await DaemonProcess.start(root);
    makeLayout(join(root, 'inbox', 'app:1'));
    await waitFor('the publish', () => receipts(root).length === 1);
    // Sparse: what it costs to send it is the same, and the disk is spared.
    resize(join(root, 'published', 'web', 'app', 'blobs', LAYER), 16 * MIB);
  });
  after(async () => {
    await daemon?.stop();
    removeTempDirs();
  });
  beforeEach(() => {
    downloads = [];
  });
  afterEach(() => {
    for (const { socket } of downloads) socket.destroy();
  });

  const download = (options?: ConstructorParameters<typeof Download>[2]) => {
    const one = new Download(daemon.url, BLOB, options);
    downloads.push(one);
    return one;
  };
  const opened = () => openCount(daemon.child.pid, LAYER);
  const noneIsOpen = () => waitFor('all files to be closed', () => opened() === 0);

  it('are all complete, and memory does not grow with the bytes sent', async () => {
    const { pid } = daemon.child;
    const before = residentMiB(pid);
    let peak = before;
    for (let n = 0; n < CLIENTS; n++) download();
    await waitFor(
      'all of them',
      () => {
        peak = Math.max(peak, residentMiB(pid));
        return downloads.every(({ socket }) => socket.closed);
      },
      50_000,
    );
    for (const { bytes } of downloads) expect(bytes).to.be.greaterThan(16 * MIB);
    expect(peak - before).to.be.lessThan(GROWTH_MIB_MAX);
    await noneIsOpen();
  });

  it('by clients that do not read hold one buffer each, and free everything on disconnect', async () => {
    const { pid } = daemon.child;
    const before = residentMiB(pid);
    for (let n = 0; n < CLIENTS; n++) download({ reads: false });
    await waitFor('all of them to begin', () => opened() === CLIENTS);
    expect(residentMiB(pid) - before).to.be.lessThan(GROWTH_MIB_MAX);
    expect((await ask(daemon.url, BLOB, { method: 'HEAD' })).status).to.equal(200);
    for (const { socket } of downloads) socket.destroy();
    await noneIsOpen();
  });

  it('by slow clients do not delay a publish', async () => {
    const publish = async (name: string) => {
      const began = performance.now();
      makeLayout(join(root, 'inbox', `${name}:1`), { layers: [name] });
      await waitFor(name, () => receipts(root).some(({ repository }) => repository === name));
      return performance.now() - began;
    };
    const alone = Math.min(await publish('a'), await publish('b'));
    for (let n = 0; n < 50; n++) download({ reads: n % 2 === 0, bytesPerSecond: MIB });
    await waitFor('all of them to begin', () => opened() === 50);
    const beside = Math.min(await publish('c'), await publish('d'));
    expect(opened()).to.equal(50);
    expect(beside).to.be.lessThan(alone + 1000);
  });
});
