/** Unusual images from real registries: every kind of content is published, or the receipt says why not. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { prepareInbox } from '#src/inbox/claim.js';
import { scan } from '#src/inbox/scan-job.js';
import { nodeDisk } from '#src/storage/disk.js';
import { verifyRepository } from '#src/targets/directory/verify-tree.js';
import { deliver, dropPath } from '../../support/deliver.js';
import { layerBytes, sha256, TestContent, type TestDescriptor } from '../../support/make-image.js';
import { readRepository } from '../../support/outside-reader.js';
import { receipts, type TestServices, testServices } from '../../support/service.js';
import { removeTempDirs, tempDir } from '../../support/temp-dir.js';

const AMD64 = { os: 'linux', architecture: 'amd64' };
const EMPTY = 'application/vnd.oci.empty.v1+json';

describe('odd images', () => {
  let root: string;
  let services: TestServices;
  let content: TestContent;

  beforeEach(async () => {
    root = tempDir();
    content = new TestContent();
    services = await testServices(root, { disk: nodeDisk });
    await services.run(prepareInbox, { inbox: services.inbox });
  });

  afterEach(async () => {
    await services.close();
    removeTempDirs();
  });

  const drop = async (image: TestDescriptor, name = 'app:1') => {
    content.writeLayout(dropPath(root, name), [{ image }]);
    await deliver(services, name);
    return receipts(root).at(-1);
  };
  const web = (...path: string[]) => join(root, 'published/web/app', ...path);
  const json = (...path: string[]) => JSON.parse(readFileSync(web(...path), 'utf8'));

  it('keep their attestations, which are never served as the amd64 image', async () => {
    const image = content.image({ platform: AMD64 });
    const inToto = 'application/vnd.in-toto+json';
    const attestation = {
      ...content.image({ layers: ['sbom'], layerType: inToto }),
      platform: { os: 'unknown', architecture: 'unknown' },
      annotations: {
        'vnd.docker.reference.type': 'attestation-manifest',
        'vnd.docker.reference.digest': image.digest,
      },
    };
    const index = content.index([attestation, image]);
    const receipt = await drop(index);
    expect(receipt?.status).to.equal('published');
    const seen = readRepository(join(root, 'published'), 'app');
    expect(seen?.digests.has(attestation.digest)).to.equal(true);
    const [amd64] = seen?.redirect.manifest_list_amd64_tags['1'] ?? [];
    expect(json('manifests/2', String(amd64)).layers[0].digest).to.equal(
      sha256(layerBytes('layer')),
    );
    expect(receipt?.leftOut?.map(({ what }) => what)).to.include(attestation.digest);
  });

  it('may contain the empty descriptor inline, which becomes a real blob', async () => {
    const empty = { mediaType: EMPTY, digest: sha256('{}'), size: 2, data: 'e30=' };
    const mediaType = 'application/vnd.oci.image.manifest.v1+json';
    const artifact = {
      schemaVersion: 2,
      mediaType,
      artifactType: 'application/vnd.example.sbom',
      config: empty,
      layers: [content.add('an sbom', 'text/plain')],
    };
    expect((await drop(content.add(JSON.stringify(artifact), mediaType)))?.status).to.equal(
      'published',
    );
    expect(readFileSync(web('blobs', empty.digest), 'utf8')).to.equal('{}');
  });

  it('may have zstd layers, which are served unchanged and have no Docker form', async () => {
    const layerType = 'application/vnd.oci.image.layer.v1.tar+zstd';
    const image = content.image({ layers: ['zstd'], layerType });
    const receipt = await drop(image);
    expect(receipt?.status).to.equal('published');
    expect(receipt?.leftOut?.[0]?.why).to.contain('+zstd');
    expect(sha256(readFileSync(web('blobs', sha256(layerBytes('zstd')))))).to.equal(
      sha256(layerBytes('zstd')),
    );
    expect(readRepository(join(root, 'published'), 'app')?.redirect.schema2_data).to.deep.equal([]);
  });

  it('may omit layers that clients fetch elsewhere', async () => {
    const layerType = 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip';
    const image = content.image({ layers: ['windows'], layerType, docker: true });
    content.blobs.delete(sha256(layerBytes('windows')));
    const receipt = await drop(image);
    expect(receipt?.status).to.equal('published');
    expect(receipt?.leftOut?.[0]?.what).to.equal(sha256(layerBytes('windows')));
  });

  it('may be nested indexes', async () => {
    const inner = content.index([content.image({ platform: AMD64 })]);
    expect((await drop(content.index([inner])))?.status).to.equal('published');
    expect(json('manifests/oci-index', inner.digest).manifests).to.have.length(1);
  });

  it('are linked to their signatures: by the API, and by the tag for clients without it', async () => {
    const image = content.image();
    const artifactType = 'application/vnd.example.signature';
    const signature = content.image({ layers: ['signature'], subject: image, artifactType });
    content.writeLayout(dropPath(root, 'app'), [{ image, tag: '1' }, { image: signature }]);
    await deliver(services, 'app');
    const response = readFileSync(web('referrers', image.digest));
    const tag = image.digest.replace(':', '-');
    expect(readFileSync(web('manifests/oci-index', tag)).equals(response)).to.equal(true);
    expect(JSON.parse(response.toString()).manifests[0]).to.include({ artifactType });
    // It is no tag that anybody gave.
    expect(json('tags/list').tags).to.deep.equal(['1']);
  });

  it('keep a dropped fallback tag created by a tool', async () => {
    const image = content.image();
    const signature = content.image({ layers: ['signature'], subject: image });
    const index = content.index([signature]);
    const tag = image.digest.replace(':', '-');
    content.writeLayout(dropPath(root, 'app'), [
      { image, tag: '1' },
      { image: signature },
      { image: index, tag },
    ]);
    await deliver(services, 'app');
    expect(sha256(readFileSync(web('manifests/oci-index', tag)))).to.equal(index.digest);
  });

  it('may be signed Docker schema 1, named by the digest of the signed part', async () => {
    const layers = ['one', 'two'].map((text) => content.add(layerBytes(text), 'layer'));
    const payload = JSON.stringify(
      {
        schemaVersion: 1,
        name: 'team/old',
        tag: '1',
        architecture: 'amd64',
        fsLayers: layers.map(({ digest }) => ({ blobSum: digest })),
        history: layers.map(() => ({ v1Compatibility: '{}' })),
      },
      undefined,
      3,
    );
    const formatLength = payload.length - 2;
    const header = { formatLength, formatTail: Buffer.from('\n}').toString('base64url') };
    const signature = {
      header: { alg: 'ES256' },
      signature: 'x',
      protected: Buffer.from(JSON.stringify(header)).toString('base64url'),
    };
    const signed = `${payload.slice(0, formatLength)},\n   "signatures": ${JSON.stringify([signature])}\n}`;
    const image = content.add(signed, 'schema1');
    content.writeSkopeoDir(dropPath(root, 'app:1'), image);
    await deliver(services, 'app:1');
    expect(receipts(root)[0], receipts(root)[0]?.message).to.include({ status: 'published' });
    expect(receipts(root)[0]?.warnings?.join()).to.contain('schema 1');
    expect(receipts(root)[0]?.tags?.[0]?.to).to.equal(sha256(payload));
    for (const name of ['1', sha256(payload)]) {
      expect(readFileSync(web('manifests/1', name), 'utf8')).to.equal(signed);
    }
    for (const { digest } of layers)
      expect(sha256(readFileSync(web('blobs', digest)))).to.equal(digest);
    const { findings } = await services.run(verifyRepository, {
      roots: services.roots,
      id: 'app' as never,
    });
    expect(findings).to.deep.equal([]);
    // Dropped again, it is the same.
    content.writeSkopeoDir(dropPath(root, 'app:1'), image);
    await deliver(services, 'app:1');
    expect(receipts(root)[1]?.status).to.equal('unchanged');
  });

  it('may be sparse in an archive, whose end is known', async () => {
    const { makeTar, tarMembers } = await import('../../support/make-tar.js');
    const { writeFileSync } = await import('node:fs');
    const platforms = ['amd64', 'arm64'].map((architecture) => ({ os: 'linux', architecture }));
    const images = platforms.map((platform) =>
      content.image({ platform, layers: [platform.architecture] }),
    );
    const index = content.index(images);
    const directory = join(tempDir(), 'layout');
    const absent = images[1]?.digest ?? '';
    content.writeLayout(directory, [{ image: index, tag: '1' }], { omit: [absent] });
    writeFileSync(dropPath(root, 'app.tar'), makeTar(tarMembers(directory)));
    const { drops } = await services.run(scan, { inbox: services.inbox, marker: undefined });
    expect(drops).to.have.length(1);
    const { testDaemon } = await import('../../support/service.js');
    const { waitFor } = await import('../../support/wait-for.js');
    const { services: own, stop } = await testDaemon(root, { disk: nodeDisk });
    await waitFor('the receipt', () => receipts(root).length === 1);
    await stop();
    expect(receipts(root)[0]?.leftOut?.[0]?.what).to.equal(`linux/arm64 ${absent}`);
    expect(own.lines.some(({ fields }) => String(fields.absent).includes('linux/arm64'))).to.equal(
      true,
    );
  });
});

describe('trees of skopeo sync', () => {
  afterEach(removeTempDirs);

  it('are published unchanged, scoped and unscoped', async () => {
    const { mkdirSync } = await import('node:fs');
    const root = tempDir();
    const services = await testServices(root, { disk: nodeDisk });
    await services.run(prepareInbox, { inbox: services.inbox });
    const names = ['app:1', 'app:2', 'registry.example:5000/team/tool:3', 'quay.example/x/y:4'];
    for (const name of names) {
      const content = new TestContent();
      mkdirSync(join(dropPath(root, name), '..'), { recursive: true });
      content.writeSkopeoDir(dropPath(root, name), content.image({ layers: [name] }));
    }
    for (const name of names) await deliver(services, name);
    await services.close();
    const tags = (id: string) =>
      Object.keys(readRepository(join(root, 'published'), id)?.tags ?? {});
    expect(tags('app')).to.deep.equal(['1', '2']);
    expect(tags('registry.example~team~tool')).to.deep.equal(['3']);
    expect(tags('quay.example~x~y')).to.deep.equal(['4']);
  });
});
