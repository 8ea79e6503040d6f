/**
 * Goal: common tools suffice: their output is published without a marker file, and a continuous reader
 * never sees an incomplete snapshot.
 */
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { DaemonProcess } from '../support/daemon-process.js';
import { DockerRegistry } from '../support/docker-registry.js';
import { startReader } from '../support/looping-reader.js';
import { sha256 } from '../support/make-image.js';
import { readRepository } from '../support/outside-reader.js';
import { receipts } from '../support/service.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { makeRealImage, needTools, tool } from '../support/tools.js';
import { waitFor } from '../support/wait-for.js';

describe('directory drops made by real tools', function () {
  this.timeout(60_000);
  let root: string;
  let inbox: string;
  let layout: string;
  let daemon: DaemonProcess;

  before(async function () {
    needTools(this, 'skopeo', 'umoci', 'rsync');
    layout = makeRealImage(tempDir());
    root = tempDir();
    inbox = join(root, 'inbox');
    mkdirSync(inbox);
    daemon = await DaemonProcess.start(root);
  });

  after(async () => {
    await daemon?.stop();
    removeTempDirs();
  });

  async function expectPublished(id: string, drop: () => Promise<unknown> | unknown) {
    const reader = startReader(join(root, 'published'), [id]);
    await drop();
    const seen = await waitFor(`${id} to be published`, () =>
      readRepository(join(root, 'published'), id),
    );
    const { looks } = await reader.stop();
    expect(looks).to.be.greaterThan(1);
    const index = JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8'));
    expect(Object.values(seen.tags)).to.deep.equal([index.manifests[0].digest]);
    await waitFor('its receipt', () => receipts(root).find((each) => each.repository === id));
    return seen;
  }

  it('skopeo copy oci:', () =>
    expectPublished('by-skopeo-oci', () =>
      tool('skopeo', 'copy', `oci:${layout}:1.0`, `oci:${inbox}/by-skopeo-oci:1.0`),
    ));

  it('skopeo copy dir:', () =>
    expectPublished('by-skopeo-dir', () =>
      tool('skopeo', 'copy', `oci:${layout}:1.0`, `dir:${inbox}/by-skopeo-dir:1.0`),
    ));

  it('skopeo sync --dest dir', async () => {
    const source = tempDir();
    await tool('skopeo', 'copy', `oci:${layout}:1.0`, `dir:${source}/synced:2.0`);
    const seen = await expectPublished('synced', () =>
      cpSync(`${source}/synced:2.0`, `${inbox}/synced:2.0`, { recursive: true }),
    );
    expect(Object.keys(seen.tags)).to.deep.equal(['2.0']);
  });

  it('skopeo sync --scoped from a registry with a port, into the inbox and below a directory', async function () {
    needTools(this, 'docker-registry');
    const registry = await DockerRegistry.start(tempDir());
    try {
      const host = registry.url.replace('http://', '');
      const destination = `docker://${host}/team/scoped:3.0`;
      await tool('skopeo', 'copy', '--dest-tls-verify=false', `oci:${layout}:1.0`, destination);
      const into = (directory: string) =>
        tool(
          ...(['skopeo', 'sync', '--scoped', '--src-tls-verify=false'] as const),
          ...(['--src', 'docker', '--dest', 'dir', `${host}/team/scoped`, directory] as const),
        );
      mkdirSync(join(inbox, 'mirror'));
      for (const below of ['', 'mirror/']) {
        await into(join(inbox, below));
        const path = `${below}${host}/team/scoped:3.0`;
        const receipt = await waitFor('its receipt', () =>
          receipts(root).find(({ drop }) => drop === path),
        );
        const repository = `${below}127.0.0.1/team/scoped`;
        expect(receipt).to.include({ status: 'published', repository });
        const seen = readRepository(join(root, 'published'), repository.replaceAll('/', '~'));
        expect(Object.keys(seen?.tags ?? {})).to.deep.equal(['3.0']);
      }
    } finally {
      await registry.stop();
    }
  });

  it('rsync of a layout', () =>
    expectPublished('by-rsync', () => tool('rsync', '-a', `${layout}/`, `${inbox}/by-rsync/`)));

  it('rsync, slowly and in place', () =>
    expectPublished('by-slow-rsync', () =>
      tool('rsync', '-a', '--inplace', '--bwlimit=60', `${layout}/`, `${inbox}/by-slow-rsync/`),
    ));

  it('cp -r of a layout', () =>
    expectPublished('by-cp', () => tool('cp', '-r', layout, `${inbox}/by-cp`)));

  it('mv of a layout', async () => {
    const aside = join(root, 'aside');
    await tool('cp', '-r', layout, aside);
    const seen = await expectPublished('by-mv', () => renameSync(aside, `${inbox}/by-mv`));
    expect(Object.keys(seen.tags)).to.deep.equal(['1.0']);
  });

  it('publishes images that skopeo reads back byte for byte', async () => {
    const web = join(root, 'published', 'web', 'by-mv');
    const source = readdirSync(join(layout, 'blobs', 'sha256'));
    const served = [
      ...readdirSync(join(web, 'blobs')),
      ...readdirSync(join(web, 'manifests', 'oci')),
    ];
    for (const hex of source) expect(served).to.include(`sha256:${hex}`);
    for (const name of readdirSync(join(web, 'blobs'))) {
      expect(sha256(readFileSync(join(web, 'blobs', name)))).to.equal(name);
    }
    // The Docker form is one that skopeo accepts as an image.
    const copy = tempDir();
    const manifest = readFileSync(join(web, 'manifests', '2', '1.0'));
    await tool('cp', '-r', `${web}/blobs/.`, copy);
    for (const name of readdirSync(copy)) renameSync(join(copy, name), join(copy, name.slice(7)));
    const { writeFileSync } = await import('node:fs');
    writeFileSync(join(copy, 'manifest.json'), manifest);
    writeFileSync(join(copy, 'version'), 'Directory Transport Version: 1.1\n');
    const back = join(tempDir(), 'back');
    await tool('skopeo', 'copy', `dir:${copy}`, `oci:${back}:1.0`);
    expect(existsSync(join(back, 'index.json'))).to.equal(true);
  });
});
