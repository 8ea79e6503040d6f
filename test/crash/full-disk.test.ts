/**
 * Goal: a full disk damages no published content, leaves no partial files, and the drop is published
 * without intervention once there is space; an unwritable log stops nothing. Method: a daemon on a small
 * tmpfs and a small ext4 filesystem that is filled up.
 */
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { DaemonProcess } from '../support/daemon-process.js';
import { makeLayout, TestContent } from '../support/make-image.js';
import { readRepository } from '../support/outside-reader.js';
import { receipts, type TestServices, testDaemon } from '../support/service.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { waitFor } from '../support/wait-for.js';
import { FilesystemImage, needImages } from './filesystem-image.js';

const YAML =
  'settle: {quiet: 50ms}\nretry: {first: 100ms, most: 300ms}\nretention: {grace: 1s}\n' +
  'archives: {compress: none}\n';
const MIB = 1024 * 1024;

describe('a full disk', function () {
  this.timeout(60_000);
  let place: { path: string; remove: () => void };
  let daemon: Awaited<ReturnType<typeof testDaemon>>;
  let services: TestServices;

  afterEach(async () => {
    await daemon?.stop();
    place?.remove();
    removeTempDirs();
  });

  function small(type: 'tmpfs' | 'ext4'): typeof place {
    if (type === 'ext4') {
      const image = FilesystemImage.make('ext4');
      return { path: image.mountPoint, remove: () => image.remove() };
    }
    const path = tempDir();
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=32m', 'tmpfs', path]);
    return { path, remove: () => execFileSync('umount', [path]) };
  }

  const filler = () => join(place.path, 'filler');
  const free = () => {
    const { bavail, bsize } = statfsSync(place.path);
    return bavail * bsize;
  };
  /** Leaves so many bytes, about. */
  const fill = (leave: number) => writeFileSync(filler(), Buffer.alloc(free() - leave));

  async function start(): Promise<void> {
    daemon = await testDaemon(join(place.path, 'root'), { yaml: YAML });
    services = daemon.services;
    await dropAndWait('app:1', 1000);
  }

  /** Made elsewhere and moved in, as from another filesystem: its blobs have to be copied. */
  function drop(name: string, bytes: number): void {
    const aside = join(tempDir(), 'aside');
    const content = new TestContent();
    const config = content.add('{}', 'application/vnd.oci.image.config.v1+json');
    const layer = content.add(
      Buffer.alloc(bytes, name),
      'application/vnd.oci.image.layer.v1.tar+gzip',
    );
    const mediaType = 'application/vnd.oci.image.manifest.v1+json';
    const manifest = { schemaVersion: 2, mediaType, config, layers: [layer] };
    const image = content.add(JSON.stringify(manifest), mediaType);
    content.writeLayout(aside, [{ image }]);
    const inbox = join(place.path, 'root', 'inbox', name);
    // An uploader who can still write to it: not to be linked.
    execFileSync('cp', ['-r', aside, `${inbox}.part`]);
    execFileSync('chmod', ['-R', 'go+w', `${inbox}.part`]);
    renameSync(`${inbox}.part`, inbox);
  }

  const published = () => readRepository(join(place.path, 'root', 'published'), 'app');
  const done = () => receipts(join(place.path, 'root')).length;

  async function dropAndWait(name: string, bytes: number): Promise<void> {
    const before = existsSync(join(place.path, 'root/inbox/.receipts')) ? done() : 0;
    drop(name, bytes);
    await waitFor(`${name} to be published`, () => done() > before);
  }

  const retries = () => services.lines.filter(({ event }) => event === 'publish.retry');

  for (const type of ['tmpfs', 'ext4'] as const) {
    it(`${type}: does not start a large drop, and publishes it when there is space`, async function () {
      needImages(this, 'ext4');
      place = small(type);
      await start();
      const before = published();
      // The drop itself lies here too: room for it, and not for a copy.
      fill(14 * MIB);
      drop('app:2', 10 * MIB);
      const [line] = await waitFor('a retry', () => retries().length > 0 && retries());
      expect(line?.fields).to.include({ code: 'space.low', drop: 'app:2' });
      expect(published()).to.deep.equal(before);
      rmSync(filler());
      await waitFor('the drop to be published', () => done() === 2);
      expect(Object.keys(published()?.tags ?? {})).to.deep.equal(['1', '2']);
    });

    it(`${type}: leaves nothing behind when a publish runs out of space`, async function () {
      needImages(this, 'ext4');
      place = small(type);
      await start();
      const before = published();
      const stored = () =>
        execFileSync('find', [join(place.path, 'root/state/content'), '-type', 'f']);
      const content = stored().toString();
      drop('app:2', 3 * MIB);
      fill(MIB / 2);
      await waitFor('a retry', () => retries().length > 1);
      expect(retries()[0]?.fields.code).to.equal('ENOSPC');
      expect(published()).to.deep.equal(before);
      const after = stored().toString().split('\n');
      // What was small enough may be stored by now, whole; the layer is not there in part.
      expect(after.length - content.split('\n').length).to.be.lessThan(5);
      rmSync(filler());
      await waitFor('the drop to be published', () => done() === 2, 30_000);
      expect(Object.keys(published()?.tags ?? {})).to.deep.equal(['1', '2']);
      await waitFor('an empty trash and work', () =>
        ['work', 'trash'].every(
          (name) => readdirSync(join(place.path, 'root/state', name)).length === 0,
        ),
      );
    });
  }

  it('does not stop the daemon when only the log disk is full', async () => {
    const root = tempDir();
    place = { path: root, remove: () => {} };
    mkdirSync(join(root, 'inbox'));
    const full = openSync('/dev/full', 'w');
    const child = await DaemonProcess.start(root, {
      stdio: ['ignore', full, full],
      ready: () => existsSync(join(root, 'inbox', '.claimed')),
    });
    closeSync(full);
    try {
      makeLayout(join(root, 'inbox', 'app:1'));
      await waitFor('it to be published', () => readRepository(join(root, 'published'), 'app'));
      expect(child.child.exitCode).to.equal(null);
    } finally {
      await child.stop();
    }
  });
});
