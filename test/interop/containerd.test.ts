/**
 * Names as containerd writes them: by tag, by digest, by both, and the ids that its CRI plugin keeps for
 * Kubernetes. Only its content store is used; nothing is unpacked or run.
 */
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { Containerd } from '../support/containerd.js';
import { DaemonProcess } from '../support/daemon-process.js';
import { TestContent } from '../support/make-image.js';
import { makeTar, tarMembers } from '../support/make-tar.js';
import { readRepository } from '../support/outside-reader.js';
import { receipts } from '../support/service.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { needTools, tool } from '../support/tools.js';
import { waitFor } from '../support/wait-for.js';

describe('bundles exported from containerd', function () {
  this.timeout(120_000);
  let root: string;
  let containerd: Containerd | undefined;
  let daemon: DaemonProcess | undefined;
  let digest: string;
  let config: string;

  before(async function () {
    needTools(this, 'containerd', 'ctr');
    if (process.getuid?.() !== 0) {
      console.info('      skipped: containerd needs root');
      this.skip();
    }
    const place = tempDir();
    containerd = await Containerd.start(place);

    const content = new TestContent();
    const image = content.image({ layers: ['one'] });
    digest = image.digest;
    config = JSON.parse(content.blobs.get(digest)?.toString() ?? '').config.digest;
    const layout = join(place, 'layout');
    content.writeLayout(layout, []);
    const annotations = { 'io.containerd.image.name': 'docker.io/library/busybox:1.36' };
    const manifests = [{ ...image, annotations }];
    writeFileSync(join(layout, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests }));
    writeFileSync(join(place, 'image.tar'), makeTar(tarMembers(layout)));
    await ctr('images', 'import', '--no-unpack', join(place, 'image.tar'));

    root = tempDir();
    mkdirSync(join(root, 'inbox'));
    daemon = await DaemonProcess.start(root);
  });

  after(async () => {
    await daemon?.stop();
    await containerd?.stop();
    removeTempDirs();
  });

  const ctr = async (...given: string[]) => containerd?.ctr(...given);
  /** The image under these names, exported and dropped. @returns the repositories there are then */
  async function dropped(drop: string, ...names: string[]): Promise<string[]> {
    for (const name of names) {
      await ctr('images', 'tag', '--force', 'docker.io/library/busybox:1.36', name);
    }
    const path = join(tempDir(), 'export.tar');
    await ctr('images', 'export', path, ...names);
    await tool('mv', path, join(root, 'inbox', drop));
    await waitFor('its receipt', () => receipts(root).some((each) => each.drop === drop), 30_000);
    return readdirSync(join(root, 'published/web')).sort();
  }
  const tags = (id: string) => readRepository(join(root, 'published'), id)?.tags;

  it('publishes name@digest by digest, and name:tag@digest by its tag', async () => {
    const pinned = `registry.example/team/pinned@${digest}`;
    expect(await dropped('@pinned.tar', pinned)).to.deep.equal(['team~pinned']);
    expect(tags('team~pinned')).to.deep.equal({});
    const both = `registry.example/team/both:2@${digest}`;
    expect(await dropped('@both.tar', both)).to.deep.equal(['team~both', 'team~pinned']);
    expect(tags('team~both')).to.deep.equal({ 2: digest });
  });

  it('publishes the names that Kubernetes keeps for an image as one repository', async () => {
    const name = 'docker.io/library/cri';
    const names = [`${name}:1.36`, `${name}@${digest}`, config];
    const before = readdirSync(join(root, 'published/web'));
    expect(await dropped('@cri.tar', ...names)).to.deep.equal([...before, 'cri'].sort());
    expect(tags('cri')).to.deep.equal({ 1.36: digest });
    expect(await dropped('alone.tar', ...names)).to.deep.equal([...before, 'alone', 'cri'].sort());
    expect(tags('alone')).to.deep.equal({ 1.36: digest });
  });
});
