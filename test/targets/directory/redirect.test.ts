/**
 * The redirect file: byte-identical for the same content, equal to a golden file, and with the lists that
 * Crane needs in each of the three modes for OCI images.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { prepareInbox } from '#src/inbox/claim.js';
import { nodeDisk } from '#src/storage/disk.js';
import { ACCEPT, CraneReader } from '../../support/crane-reader.js';
import { deliver, dropPath } from '../../support/deliver.js';
import { TestContent } from '../../support/make-image.js';
import { testServices } from '../../support/service.js';
import { removeTempDirs, tempDir } from '../../support/temp-dir.js';

const GOLDEN = fileURLToPath(
  new URL('../../../test/golden/redirect-convert.json', import.meta.url),
);
const AMD64 = { os: 'linux', architecture: 'amd64' };
const ARM64 = { os: 'linux', architecture: 'arm64', variant: 'v8' };

/** An OCI image, an OCI index, a Docker image and a Docker list, one tag each. */
async function publishAll(root: string, oci: string): Promise<string> {
  const yaml = `redirect: {oci: ${oci}, url: "https://pulp.example/pulp/docker/v2/{id}/"}\n`;
  const services = await testServices(root, { disk: nodeDisk, yaml });
  await services.run(prepareInbox, { inbox: services.inbox });
  const content = new TestContent();
  const both = [AMD64, ARM64];
  content.writeLayout(dropPath(root, 'team/app'), [
    { image: content.image({ layers: ['one'] }), tag: 'oci' },
    {
      image: content.index(both.map((platform) => content.image({ layers: ['two'], platform }))),
      tag: '10',
    },
    { image: content.image({ layers: ['three'], docker: true }), tag: 'docker' },
    {
      image: content.index(
        both.map((platform) => content.image({ layers: ['four'], platform, docker: true })),
        true,
      ),
      tag: '9',
    },
  ]);
  const outcome = await deliver(services, 'team/app');
  await services.close();
  expect(outcome?.status).to.equal('published');
  return join(root, 'published');
}

/** The file behind a redirect, as the web server of a Pulp host maps it. */
function behind(published: string, redirect: string | undefined): string {
  const path = redirect && new URL(redirect).pathname.replace('/pulp/docker/v2/', '');
  return join(published, 'web', path ?? 'nowhere');
}

describe('the redirect file', () => {
  afterEach(removeTempDirs);

  it('is identical for the same content, on every host and in every version', async () => {
    const texts = await Promise.all(
      [tempDir(), tempDir()].map(async (root) =>
        readFileSync(join(await publishAll(root, 'convert'), 'app', 'team~app.json'), 'utf8'),
      ),
    );
    expect(texts[0]).to.equal(texts[1]);
    expect(texts[0]).to.equal(readFileSync(GOLDEN, 'utf8'));
  });

  it('has sorted keys and lists and no timestamps', async () => {
    const published = await publishAll(tempDir(), 'convert');
    const text = readFileSync(join(published, 'app', 'team~app.json'), 'utf8');
    const redirect = JSON.parse(text);
    expect(Object.keys(redirect)).to.deep.equal(Object.keys(redirect).sort());
    for (const list of [redirect.schema2_data, redirect.manifest_list_data]) {
      expect(list).to.deep.equal([...list].sort());
    }
    // "10" sorts before "9", and an object would put them the other way round.
    expect(text.indexOf('"10": [')).to.be.lessThan(text.indexOf('"9": ['));
    expect(text).not.to.match(/20\d\d[-0-9]*T/);
  });

  it('redirects Crane to the Docker form of OCI images (convert)', async () => {
    const published = await publishAll(tempDir(), 'convert');
    const crane = new CraneReader(join(published, 'app'));
    expect(crane.repositories).to.deep.equal(['team/app']);
    const [list, schema2] = [ACCEPT.list, ACCEPT.schema2];
    for (const tag of ['oci', 'docker', '9', '10']) {
      const path = behind(published, crane.manifest('team/app', tag, [list, schema2]));
      expect(existsSync(path), path).to.equal(true);
      const { mediaType } = JSON.parse(readFileSync(path, 'utf8'));
      expect(mediaType).to.equal(tag === '9' || tag === '10' ? list : schema2);
    }
    // A client that knows no lists gets the amd64 image of one.
    for (const tag of ['9', '10']) {
      const path = behind(published, crane.manifest('team/app', tag, [schema2]));
      const { mediaType, config } = JSON.parse(readFileSync(path, 'utf8'));
      expect(mediaType).to.equal(schema2);
      const blob = behind(published, crane.path('team/app', `blobs/${config.digest}`));
      expect(JSON.parse(readFileSync(blob, 'utf8')).architecture).to.equal('amd64');
    }
  });

  it('redirects Crane to the original through manifests/1 (passthrough)', async () => {
    const published = await publishAll(tempDir(), 'passthrough');
    const crane = new CraneReader(join(published, 'app'));
    for (const tag of ['oci', '10']) {
      const redirect = crane.manifest('team/app', tag, [ACCEPT.list, ACCEPT.schema2]);
      expect(new URL(redirect ?? '').pathname).to.equal(
        `/pulp/docker/v2/team~app/manifests/1/${tag}`,
      );
      const { mediaType } = JSON.parse(readFileSync(behind(published, redirect), 'utf8'));
      expect(mediaType).to.match(/^application\/vnd\.oci\.image\.(manifest|index)\.v1\+json$/);
    }
  });

  it('omits OCI images (omit)', async () => {
    const published = await publishAll(tempDir(), 'omit');
    const crane = new CraneReader(join(published, 'app'));
    const redirect = crane.manifest('team/app', 'oci', [ACCEPT.list, ACCEPT.schema2]);
    expect(existsSync(behind(published, redirect))).to.equal(false);
    const docker = crane.manifest('team/app', 'docker', [ACCEPT.list, ACCEPT.schema2]);
    expect(existsSync(behind(published, docker))).to.equal(true);
    expect(existsSync(join(published, 'web/team~app/manifests/oci/oci'))).to.equal(true);
  });
});
