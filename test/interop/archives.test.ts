/**
 * Goal: an archive made by a real tool is published with exactly its content. Method: each tool creates
 * one from the same image; the published content is compared with the archive, and skopeo reads the
 * Docker form back. For tools missing in Debian (docker, buildx), a builder follows their documented
 * output.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { prepareInbox } from '#src/inbox/claim.js';
import { nodeDisk } from '#src/storage/disk.js';
import { deliver, dropPath } from '../support/deliver.js';
import { TestContent } from '../support/make-image.js';
import { makeTar, tarMembers } from '../support/make-tar.js';
import { readRepository } from '../support/outside-reader.js';
import { receipts, type TestServices, testServices } from '../support/service.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { makeRealImage, needTools, tool } from '../support/tools.js';

const hexOf = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');

describe('archives made by real tools', function () {
  this.timeout(120_000);
  let layout: string;
  let work: string;
  let root: string;
  let services: TestServices;
  let store: string[];

  before(async function () {
    needTools(this, 'skopeo', 'umoci', 'podman', 'buildah', 'zstd');
    work = tempDir();
    layout = makeRealImage(work);
    const storage = ['--root', join(work, 'root'), '--runroot', join(work, 'run')];
    store = [...storage, '--storage-driver', 'vfs'];
    const saved = join(work, 'for-podman.tar');
    await tool(
      'skopeo',
      'copy',
      `oci:${layout}:1.0`,
      `docker-archive:${saved}:localhost/team/app:3`,
    );
    await tool('podman', ...store, 'load', '-q', '-i', saved);
    root = tempDir();
    services = await testServices(root, { disk: nodeDisk });
    await services.run(prepareInbox, { inbox: services.inbox });
  });

  after(async () => {
    await services?.close();
    if (work) execFileSync('rm', ['-rf', work]);
    removeTempDirs();
  });

  async function drop(archive: string, name: string) {
    copyFileSync(archive, dropPath(root, name));
    await deliver(services, name);
    const receipt = receipts(root).find((each) => each.drop === name);
    expect(receipt?.status, receipt?.message).to.equal('published');
    return receipt;
  }

  /** Every blob and manifest of an OCI archive is served, byte for byte. */
  async function expectSame(archive: string, id: string): Promise<void> {
    const unpacked = tempDir();
    await tool('tar', 'xf', archive, '-C', unpacked);
    const source = readdirSync(join(unpacked, 'blobs/sha256'));
    expect(source.length).to.be.greaterThan(2);
    const seen = readRepository(join(root, 'published'), id);
    for (const hex of source) expect(seen?.digests.has(`sha256:${hex}`), hex).to.equal(true);
  }

  /** skopeo takes what is served in Docker's form for an image with these layers. */
  async function expectReadable(id: string, tag: string): Promise<string[]> {
    const web = join(root, 'published/web', id);
    const directory = tempDir();
    for (const name of readdirSync(join(web, 'blobs'))) {
      copyFileSync(join(web, 'blobs', name), join(directory, name.slice('sha256:'.length)));
    }
    copyFileSync(join(web, 'manifests/2', tag), join(directory, 'manifest.json'));
    writeFileSync(join(directory, 'version'), 'Directory Transport Version: 1.1\n');
    const inspected = await tool('skopeo', 'inspect', '--config', `dir:${directory}`);
    return JSON.parse(inspected).rootfs.diff_ids;
  }

  const diffIds = () => {
    const index = JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8'));
    const blob = (digest: string) =>
      JSON.parse(readFileSync(join(layout, 'blobs', digest.replace(':', '/')), 'utf8'));
    return blob(blob(index.manifests[0].digest).config.digest).rootfs.diff_ids;
  };

  it('skopeo oci-archive:, plain, gzip and zstd', async () => {
    const archive = join(work, 'skopeo.tar');
    await tool('skopeo', 'copy', `oci:${layout}:1.0`, `oci-archive:${archive}:1.0`);
    execFileSync('gzip', ['-k', archive]);
    execFileSync('zstd', ['-q', archive]);
    for (const [name, file] of [
      ['plain', archive],
      ['gzip', `${archive}.gz`],
      ['zstd', `${archive}.zst`],
    ] as const) {
      await drop(file, `skopeo-${name}.tar${file.slice(archive.length)}`);
      await expectSame(archive, `skopeo-${name}`);
      expect(await expectReadable(`skopeo-${name}`, '1.0')).to.deep.equal(diffIds());
    }
  });

  it('skopeo, with a colon in the name of the file: a warning; with "=": the tag', async () => {
    const written = [
      ['oci-archive', 'colon:1.0.tar', 'colon', '1.0.tar'],
      ['docker-archive', 'docker-colon:1.0.tar', 'docker-colon', 'latest'],
      ['oci-archive', 'equals=1.0.tar', 'equals=1.0.tar', '1.0'],
      ['docker-archive', 'docker-equals=1.0.tar', 'docker-equals=1.0.tar', '1.0'],
    ] as const;
    for (const [transport, given, file, tag] of written) {
      const place = `${transport}:${join(services.inbox, given)}`;
      await tool('skopeo', 'copy', `oci:${layout}:1.0`, place);
      await deliver(services, file);
      const receipt = receipts(root).find((each) => each.drop === file);
      expect(receipt?.tags?.map((each) => each.tag)).to.deep.equal([tag]);
      const cure = `${transport}:inbox/${given.replace(':', '=')}`;
      expect(receipt?.warnings?.join().includes(cure), given).to.equal(tag !== '1.0');
    }
  });

  it('skopeo docker-archive:', async () => {
    const archive = join(work, 'docker.tar');
    await tool('skopeo', 'copy', `oci:${layout}:1.0`, `docker-archive:${archive}:x:1`);
    const receipt = await drop(archive, 'skopeo-docker.tar');
    expect(receipt?.warnings?.join()).to.contain('not that of the registry');
    expect(await expectReadable('skopeo-docker', '1')).to.deep.equal(diffIds());
  });

  it('skopeo docker-archive: and podman save -m, unpacked: the same digests as the archive', async () => {
    const image = 'localhost/team/app:3';
    await tool('podman', ...store, 'tag', image, 'localhost/team/other:4');
    const archives = {
      skopeo: join(work, 'skopeo-unpacked.tar'),
      podman: join(work, 'podman-unpacked.tar'),
    };
    const source = `oci:${layout}:1.0`;
    await tool('skopeo', 'copy', source, `docker-archive:${archives.skopeo}:x:1`);
    const several = ['save', '-q', '-m', '--format', 'docker-archive', '-o', archives.podman];
    await tool('podman', ...store, ...several, image, 'localhost/team/other:4');
    for (const [name, archive] of Object.entries(archives)) {
      await drop(archive, `${name}-packed.tar`);
      const unpacked = join(tempDir(), 'unpacked');
      mkdirSync(unpacked);
      await tool('tar', 'xf', archive, '-C', unpacked);
      renameSync(unpacked, dropPath(root, `${name}-unpacked`));
      await deliver(services, `${name}-unpacked`);
      const receipt = receipts(root).find((each) => each.drop === `${name}-unpacked`);
      expect(receipt?.status, receipt?.message).to.equal('published');
      const tagsOf = (id: string) => readRepository(join(root, 'published'), id)?.tags;
      expect(tagsOf(`${name}-unpacked`)).to.deep.equal(tagsOf(`${name}-packed`));
      const tags = name === 'podman' ? ['3', '4'] : ['1'];
      expect(tagsOf(`${name}-unpacked`)).to.have.keys(tags);
    }
  });

  it('podman save --format oci-archive and docker-archive', async () => {
    for (const format of ['oci-archive', 'docker-archive']) {
      const archive = join(work, `podman-${format}.tar`);
      const given = ['save', '-q', '--format', format, '-o', archive, 'localhost/team/app:3'];
      await tool('podman', ...store, ...given);
      await drop(archive, `podman-${format}.tar`);
      if (format === 'oci-archive') await expectSame(archive, `podman-${format}`);
      expect(await expectReadable(`podman-${format}`, '3')).to.deep.equal(diffIds());
    }
  });

  it('buildah push oci-archive:', async () => {
    const archive = join(work, 'buildah.tar');
    await tool(
      'buildah',
      ...store,
      'push',
      '-q',
      'localhost/team/app:3',
      `oci-archive:${archive}:t`,
    );
    await drop(archive, 'buildah.tar');
    await expectSame(archive, 'buildah');
  });

  it('tar of an umoci layout, and of a skopeo dir:', async () => {
    await tool('tar', 'cf', join(work, 'umoci.tar'), '-C', layout, '.');
    await drop(join(work, 'umoci.tar'), 'umoci.tar');
    await expectSame(join(work, 'umoci.tar'), 'umoci');
    mkdirSync(join(work, 'dir'));
    await tool('skopeo', 'copy', `oci:${layout}:1.0`, `dir:${work}/dir`);
    await tool('tar', 'czf', join(work, 'dir.tgz'), '-C', join(work, 'dir'), '.');
    await drop(join(work, 'dir.tgz'), 'dir:1.0.tgz');
    const names = readdirSync(join(work, 'dir')).filter((name) => /^[0-9a-f]{64}$/.test(name));
    const seen = readRepository(join(root, 'published'), 'dir');
    for (const hex of names) expect(seen?.digests.has(`sha256:${hex}`)).to.equal(true);
  });

  it('docker save since 25 from both stores, and buildx, as documented', async () => {
    const content = new TestContent();
    const platform = { os: 'linux', architecture: 'amd64' };
    const image = content.image({ platform });
    const absent = {
      ...content.image({ layers: ['arm'] }),
      platform: { ...platform, architecture: 'arm64' },
    };
    const attestation = {
      ...content.image({ layers: ['sbom'], layerType: 'application/vnd.in-toto+json' }),
      platform: { os: 'unknown', architecture: 'unknown' },
    };
    const index = content.index([image, absent, attestation]);
    const directory = join(tempDir(), 'layout');
    content.writeLayout(directory, [{ image: index }], { omit: [absent.digest] });
    const file = join(directory, 'index.json');
    const document = JSON.parse(readFileSync(file, 'utf8'));
    document.manifests[0].annotations = {
      'io.containerd.image.name': 'docker.io/library/app:7',
      'org.opencontainers.image.ref.name': '7',
    };
    writeFileSync(file, JSON.stringify(document));
    const repositories = [{ Config: 'x', RepoTags: ['app:7'], Layers: [] }];
    writeFileSync(join(directory, 'manifest.json'), JSON.stringify(repositories));
    // The containerd store writes its records sorted by name.
    writeFileSync(join(work, 'save.tar'), makeTar(tarMembers(directory)));
    const receipt = await drop(join(work, 'save.tar'), 'saved.tar');
    expect(receipt?.leftOut?.map(({ what }) => what)).to.include(`linux/arm64 ${absent.digest}`);
    const seen = readRepository(join(root, 'published'), 'saved');
    expect(seen?.tags).to.deep.equal({ 7: index.digest });
    for (const [digest, bytes] of content.blobs) {
      const isAbsent = digest === absent.digest || bytes.includes('arm');
      if (!isAbsent) expect(seen?.digests.has(`sha256:${hexOf(bytes)}`)).to.equal(true);
    }
  });
});
