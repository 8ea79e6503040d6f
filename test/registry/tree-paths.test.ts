/** The paths that Crane redirects to: every file of the published tree, and nothing else. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { basename, join } from 'node:path';
import { expect } from 'chai';
import { isDigest } from '#src/image/digest.js';
import { type ManifestKind, manifestMediaType, mediaTypeOf } from '#src/image/media-types.js';
import { basic } from '../support/ask.js';
import { sha256, TestContent } from '../support/make-image.js';
import { writeHtpasswd } from '../support/passwords.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { describeOver, TestRegistry } from '../support/test-registry.js';

const TREE = '/pulp/docker/v2/team~app';

describeOver('the paths of the tree', () => {
  let registry: TestRegistry;

  async function open(yaml = ''): Promise<void> {
    registry = await TestRegistry.open(tempDir(), { yaml });
    const content = new TestContent();
    const images = ['amd64', 'arm64'].map((architecture) =>
      content.image({ layers: ['base', architecture], platform: { os: 'linux', architecture } }),
    );
    const index = content.index(images);
    const attached = content.image({ subject: index, artifactType: 'application/x.sbom' });
    const docker = content.image({ layers: ['docker'], docker: true });
    await registry.drop('team/app', content, [
      { image: index, tag: 'multi' },
      { image: docker, tag: '1.0.html' },
      { image: attached },
    ]);
  }
  afterEach(async () => {
    await registry.close();
    removeTempDirs();
  });

  for (const oci of ['convert', 'passthrough']) {
    it(`serve every manifest and blob in the tree, with redirect.oci: ${oci}`, async () => {
      await open(`redirect: {oci: ${oci}}`);
      let count = 0;
      for (const kind of readdirSync(registry.web('team~app', 'manifests')) as ManifestKind[]) {
        for (const name of readdirSync(registry.web('team~app', 'manifests', kind))) {
          const bytes = readFileSync(registry.web('team~app', 'manifests', kind, name));
          const { status, body, headers } = await registry.get(`${TREE}/manifests/${kind}/${name}`);
          expect([status, body.equals(bytes)], `${kind}/${name}`).to.deep.equal([200, true]);
          expect(headers['content-type']).to.equal(manifestMediaType(kind, bytes));
          expect(headers.vary, `${kind}/${name}`).to.equal(isDigest(name) ? undefined : 'Accept');
          count++;
        }
      }
      expect(count).to.be.greaterThan(8);
      for (const digest of readdirSync(registry.web('team~app', 'blobs'))) {
        const { status, body } = await registry.get(`${TREE}/blobs/${digest}`);
        expect([status, sha256(body)]).to.deep.equal([200, digest]);
      }
    });
  }

  it('serve content when Crane has not scanned since it was added or changed', async () => {
    await open();
    const there: Record<string, string> = {};
    for (const kind of readdirSync(registry.web('team~app', 'manifests'))) {
      for (const name of readdirSync(registry.web('team~app', 'manifests', kind))) {
        if (isDigest(name)) there[name] = kind;
      }
    }
    const type = async (path: string, accept = '') => {
      const { status, headers } = await registry.get(`${TREE}/manifests/${path}`, { accept });
      return status === 200 ? headers['content-type'] : String(status);
    };
    expect(new Set(Object.values(there)).size).to.equal(4);
    for (const [digest, kind] of Object.entries(there)) {
      for (const other of ['1', '2', 'list']) {
        const types = mediaTypeOf(kind as ManifestKind);
        expect(await type(`${other}/${digest}`), `${other}/${digest}`).to.be.oneOf([...types]);
      }
    }
    const [image = '', list = ''] = [mediaTypeOf('2')[0], mediaTypeOf('list')[0]];
    const [oci = '', ociIndex = ''] = [mediaTypeOf('oci')[0], mediaTypeOf('oci-index')[0]];
    const all = [image, list, oci, ociIndex].join(', ');
    // A tag, only in a form that the client takes; Docker's first, as Crane has it.
    expect(await type('1/1.0.html', all)).to.equal(image);
    expect(await type('list/1.0.html', all)).to.equal(image);
    expect(await type('list/1.0.html', list)).to.equal('404');
    expect(await type('1/multi', all)).to.equal(list);
    expect(await type('2/multi', all)).to.equal(list);
    expect(await type('2/multi', `${image}, ${ociIndex}`)).to.equal(ociIndex);
    expect(await type('2/multi', image)).to.equal('404');
    expect(await type('1/multi', oci)).to.equal(ociIndex);
    // Crane never redirects there.
    expect(await type('oci/multi', all)).to.equal('404');
  });

  it('may name the snapshot, for a Crane that has not scanned yet', async () => {
    await open();
    const before = basename(readlinkSync(registry.web('team~app')));
    const old = await registry.get(`${TREE}/manifests/2/1.0.html`);
    const content = new TestContent();
    const image = content.index([content.image({ layers: ['next'] })]);
    await registry.drop('team/app', content, [{ image, tag: '1.0.html' }]);
    const now = basename(readlinkSync(registry.web('team~app')));
    const named = (snapshot: string, path: string, id = 'team~app') =>
      registry.get(`/pulp/docker/snapshots/${id}/${snapshot}/manifests/${path}`);
    // What Crane knows as an image is a list since.
    expect((await registry.get(`${TREE}/manifests/2/1.0.html`)).status).to.equal(404);
    const kept = await named(before, '2/1.0.html');
    expect([kept.status, kept.body.equals(old.body)]).to.deep.equal([200, true]);
    expect((await named(now, 'oci-index/1.0.html')).status).to.equal(200);
    expect((await named(now, '2/1.0.html')).status).to.equal(404);
    expect((await named('20200101T000000.000Z', '2/1.0.html')).status).to.equal(404);
    expect((await named('current', '2/1.0.html')).status).to.equal(404);
    expect((await named(before, '2/1.0.html', 'team~other')).status).to.equal(404);
    expect(registry.errors).to.deep.equal([]);
  });

  it('serve nothing else', async () => {
    await open();
    for (const path of [
      `${TREE}/manifests/2/none`,
      `${TREE}/manifests/list/1.0.html`,
      `${TREE}/manifests/3/1.0.html`,
      `${TREE}/manifests/2/1.0.html/x`,
      `${TREE}/blobs/${sha256('x')}`,
      `${TREE}/blobs/x`,
      `${TREE}/.snapshot.json`,
      `${TREE}/tags/list`,
      `${TREE}/`,
      '/pulp/docker/v2/team~none/manifests/2/1',
      '/pulp/docker/v2/..%2fteam~app/manifests/2/1.0.html',
      '/pulp/docker/v3/team~app/manifests/2/1.0.html',
      '/pulp/',
    ]) {
      const { status } = await registry.get(path);
      expect(status, path).to.be.oneOf([400, 404]);
    }
  });

  it('are accessible to clients that may read the repository', async () => {
    const passwords = join(tempDir(), 'htpasswd');
    writeHtpasswd(passwords, { alice: 'secret' });
    const secret = 'repositories: {team/app: {protected: true}}';
    await open(`registry: {htpasswd: ${passwords}}\n${secret}`);
    const path = `${TREE}/manifests/2/1.0.html`;
    expect((await registry.get(path)).status).to.equal(401);
    expect((await registry.get(path, basic('alice', 'wrong'))).status).to.equal(401);
    expect((await registry.get(path, basic('alice', 'secret'))).status).to.equal(200);
  });
});
