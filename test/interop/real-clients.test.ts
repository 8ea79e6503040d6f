/**
 * Goal: common clients pull from dropdock what it publishes, by tag and by digest, single images and
 * indexes, with and without a password; a second dropdock filled by `skopeo sync` from the first serves
 * the same digests.
 */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { Containerd } from '../support/containerd.js';
import { DaemonProcess, QUICK } from '../support/daemon-process.js';
import { blobPath, makeLayout, sha256, TestContent } from '../support/make-image.js';
import { ACCEPT_ALL } from '../support/puller.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { makeRealImage, needTools, tool } from '../support/tools.js';
import { waitFor } from '../support/wait-for.js';

const PLATFORMS = ['amd64', 'arm64'];

describe('real clients pull from dropdock', function () {
  this.timeout(120_000);
  let daemon: DaemonProcess;
  let root: string;
  let real: string;
  const digests: Record<string, string> = {};

  before(async function () {
    needTools(
      this,
      'skopeo',
      'umoci',
      'podman',
      'buildah',
      'ctr',
      'containerd',
      'htpasswd',
      'curl',
    );
    root = tempDir();
    const passwords = join(root, 'htpasswd');
    writeFileSync(passwords, await tool('htpasswd', '-nbB', '-C', '5', 'alice', 'wonder'));
    const registry = `registry: {listen: "127.0.0.1:0", htpasswd: ${passwords}}\n`;
    const repositories = 'repositories: {"secret/**": {protected: true}}\n';
    for (const space of ['team/sub', 'secret']) {
      mkdirSync(join(root, 'inbox', space), { recursive: true });
    }
    daemon = await DaemonProcess.start(root, { yaml: QUICK + registry + repositories });
    real = makeRealImage(tempDir());
    await fill(join(root, 'inbox'));
  });

  after(async () => {
    await daemon?.stop();
    removeTempDirs();
  });

  /** One of each: OCI and Docker, image and index, artifact, archive, names with slashes. */
  async function fill(inbox: string): Promise<void> {
    const source = `oci:${real}:1.0`;
    await tool('skopeo', 'copy', source, `oci:${inbox}/real:1.0`);
    await tool('skopeo', 'copy', source, `oci:${inbox}/secret/app:1.0`);
    await tool('skopeo', 'copy', '--format=v2s2', source, `dir:${inbox}/team/sub/docker:2.0`);
    for (const [transport, name] of [
      ['docker-archive', 'saved:3.0.tar'],
      ['oci-archive', 'archived:4.0.tar'],
    ] as const) {
      // To skopeo a colon ends the path.
      const aside = join(root, transport);
      await tool('skopeo', 'copy', source, `${transport}:${aside}`);
      renameSync(aside, join(inbox, name));
    }
    for (const docker of [false, true]) {
      const content = new TestContent();
      const images = PLATFORMS.map((architecture) =>
        content.image({
          docker,
          layers: ['base', architecture],
          platform: { os: 'linux', architecture },
        }),
      );
      const image = content.index(images, docker);
      const attached = content.image({ subject: image, artifactType: 'application/x.sbom' });
      const name = docker ? 'team/list' : 'team/index';
      content.writeLayout(join(inbox, name), [{ image, tag: '1' }, { image: attached }]);
      digests[`${name}:1`] = image.digest;
    }
    makeLayout(join(inbox, 'zstd'), {
      tag: '1',
      layerType: 'application/vnd.oci.image.layer.v1.tar+zstd',
    });
    const layout = JSON.parse(readFileSync(join(real, 'index.json'), 'utf8'));
    digests['real:1.0'] = layout.manifests[0].digest;
    await waitFor('everything to be published', () => published().length === 8);
  }

  const published = () => [...daemon.output.matchAll(/publish\.done repo=(\S+)/g)];
  const remote = (name: string) => `docker://${daemon.registry}/${name}`;
  const insecure = '--src-tls-verify=false';

  it('skopeo pulls each repository by tag and by digest', async () => {
    const names = [
      'real:1.0',
      'team/sub/docker:2.0',
      'saved:3.0',
      'archived:4.0',
      'zstd:1',
      'team/index:1',
      'team/list:1',
    ];
    for (const name of names) {
      const to = join(tempDir(), 'layout');
      await tool('skopeo', 'copy', insecure, '--all', remote(name), `dir:${to}`);
      const digest = sha256(readFileSync(join(to, 'manifest.json')));
      if (digests[name]) expect(digest, name).to.equal(digests[name]);
      const byDigest = remote(`${name.split(':')[0]}@${digest}`);
      await tool('skopeo', 'copy', insecure, '--all', byDigest, `dir:${to}-again`);
    }
  });

  it('skopeo pulls one platform of an index', async () => {
    for (const name of ['team/index:1', 'team/list:1']) {
      const to = join(tempDir(), 'one');
      await tool('skopeo', '--override-arch=arm64', 'copy', insecure, remote(name), `dir:${to}`);
      const { layers } = JSON.parse(readFileSync(join(to, 'manifest.json'), 'utf8'));
      const layer = readFileSync(join(to, layers[1].digest.slice('sha256:'.length)));
      expect(layer.toString('latin1')).to.include('arm64');
    }
  });

  it('podman and buildah pull', async () => {
    const place = tempDir();
    const storage = ['--root', join(place, 'root'), '--runroot', join(place, 'run')];
    const given = [...storage, '--storage-driver', 'vfs'];
    await tool('podman', ...given, 'pull', '--tls-verify=false', remote('real:1.0'));
    const pulled = `${daemon.registry}/real@${digests['real:1.0']}`;
    await tool('podman', ...given, 'pull', '--tls-verify=false', pulled);
    await tool('buildah', ...given, 'pull', '--tls-verify=false', remote('team/sub/docker:2.0'));
    const images = await tool('podman', ...given, 'images', '--format', '{{.Repository}}:{{.Tag}}');
    expect(images).to.include('real:1.0').and.to.include('team/sub/docker:2.0');
  });

  it('containerd pulls one image with its snapshot and an index with all its platforms', async () => {
    const place = tempDir();
    const containerd = await Containerd.start(place);
    try {
      const { ctr } = containerd;
      const http = '--plain-http';
      await ctr('images', 'pull', http, '--snapshotter=native', `${daemon.registry}/real:1.0`);
      for (const name of ['team/index:1', 'team/list:1']) {
        await ctr('content', 'fetch', http, '--all-platforms', `${daemon.registry}/${name}`);
      }
      const images = await ctr('images', 'ls');
      for (const digest of Object.values(digests)) expect(images).to.include(digest);
    } finally {
      await containerd.stop();
    }
  });

  it('curl resumes an interrupted download', async () => {
    const manifest = await fetch(`${daemon.url}/v2/real/manifests/1.0`, {
      headers: { Accept: ACCEPT_ALL },
    });
    const { layers } = (await manifest.json()) as { layers: { digest: string }[] };
    const digest = layers[0]?.digest ?? '';
    const whole = readFileSync(blobPath(real, digest));
    const part = join(tempDir(), 'part');
    writeFileSync(part, whole.subarray(0, 1000));
    await tool('curl', '-sf', '-C', '-', '-o', part, `${daemon.url}/v2/real/blobs/${digest}`);
    expect(readFileSync(part).equals(whole)).to.equal(true);
  });

  it('a protected repository needs its password', async () => {
    const to = () => `dir:${join(tempDir(), 'copy')}`;
    const secret = remote('secret/app:1.0');
    await tool('skopeo', 'copy', insecure, '--src-creds=alice:wonder', secret, to());
    for (const creds of ['--src-no-creds', '--src-creds=alice:guess']) {
      const refused = await tool('skopeo', 'copy', insecure, creds, secret, to()).catch(String);
      expect(refused, creds).to.include('unauthorized');
    }
    // A password does no harm where none is needed, and its lack none elsewhere.
    await tool('skopeo', 'copy', insecure, '--src-creds=alice:wonder', remote('real:1.0'), to());
    await tool('skopeo', 'copy', insecure, '--src-no-creds', remote('real:1.0'), to());
  });

  it('skopeo sync of everything into a second dropdock gives the same digests', async () => {
    const second = tempDir();
    mkdirSync(join(second, 'inbox'));
    const mirror = await DaemonProcess.start(second);
    try {
      const catalog = await fetch(`${daemon.url}/v2/_catalog`);
      const { repositories } = (await catalog.json()) as { repositories: string[] };
      expect(repositories).to.have.length(7).and.not.include('secret/app');
      for (const name of repositories) {
        const space = join(second, 'inbox', name, '..');
        mkdirSync(space, { recursive: true });
        const from = `${daemon.registry}/${name}`;
        await tool('skopeo', 'sync', insecure, '--all', '--src=docker', '--dest=dir', from, space);
      }
      for (const name of repositories) {
        const [theirs, ours] = await waitFor(name, async () => {
          const both = await Promise.all([daemon, mirror].map(({ url }) => tagDigests(url, name)));
          return both[1] && both;
        });
        expect(ours, name).to.deep.equal(theirs);
      }
    } finally {
      await mirror.stop();
    }
  });
});

/** Each tag's digest; undefined where there is no such repository. */
async function tagDigests(url: string, name: string): Promise<object | undefined> {
  const list = await fetch(`${url}/v2/${name}/tags/list`);
  if (list.status === 404) return undefined;
  const { tags } = (await list.json()) as { tags: string[] };
  const digests: Record<string, string | null> = {};
  for (const tag of tags) {
    const head = await fetch(`${url}/v2/${name}/manifests/${tag}`, {
      method: 'HEAD',
      headers: { Accept: ACCEPT_ALL },
    });
    digests[tag] = head.headers.get('docker-content-digest');
  }
  return digests;
}
