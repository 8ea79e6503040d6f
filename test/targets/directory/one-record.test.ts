/**
 * The record of a digest follows from its bytes and does not change. If an older version wrote a
 * different record, verify reports it, and no cleaning removes what the bytes reference.
 */
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { expect } from 'chai';
import type { Digest } from '#src/image/digest.js';
import type { RepositoryId } from '#src/image/names.js';
import { prepareInbox } from '#src/inbox/claim.js';
import { nodeDisk } from '#src/storage/disk.js';
import { contentPath } from '#src/storage/tree-paths.js';
import { planSweep, sweep } from '#src/targets/directory/sweep.js';
import { verifyRepository } from '#src/targets/directory/verify-tree.js';
import { deliver, dropPath } from '../../support/deliver.js';
import { harmRecord } from '../../support/harm-record.js';
import { layerBytes, sha256, TestContent, type TestDescriptor } from '../../support/make-image.js';
import { base64url, makeSchema1, signatureBlock, withSignatures } from '../../support/schema1.js';
import { receipts, type TestServices, testServices } from '../../support/service.js';
import { removeTempDirs, tempDir } from '../../support/temp-dir.js';

const ID = 'app' as RepositoryId;
const HOUR = 3_600_000;
const OCI = 'application/vnd.oci.image.manifest.v1+json';
const OCI_INDEX = 'application/vnd.oci.image.index.v1+json';
const DOCKER = 'application/vnd.docker.distribution.manifest.v2+json';

describe('the record of a manifest', () => {
  let root: string;
  let services: TestServices;
  let content: TestContent;

  beforeEach(async () => {
    root = tempDir();
    content = new TestContent();
    services = await testServices(root, {
      disk: nodeDisk,
      yaml: 'retention: {grace: 0s, keep: 1}',
    });
    await services.run(prepareInbox, { inbox: services.inbox });
  });
  afterEach(async () => {
    await services.close();
    removeTempDirs();
  });

  const drop = async (...roots: { image: TestDescriptor; tag?: string }[]) => {
    content.writeLayout(dropPath(root, 'app'), roots);
    await deliver(services, 'app');
    return receipts(root).at(-1);
  };
  const web = (...path: string[]) => join(root, 'published/web/app', ...path);
  const stored = (digest: string) => contentPath(services.roots, digest as Digest);
  const findings = async () => {
    const { run, roots } = services;
    const found = (await run(verifyRepository, { roots, id: ID })).findings;
    return found.map(({ problem, path, detail }) => ({
      problem,
      path: path.replace(/^.*Z\//, ''),
      detail,
    }));
  };
  const sweepAt = (hours: number) => ({
    roots: services.roots,
    nowMs: Date.now() + hours * HOUR,
    clock: { id: 'test', ms: hours * HOUR },
    graceMs: 0,
  });
  /** What nothing needs is seen by one cleaning, and goes with a later one. */
  const sweepTwice = async () => {
    await services.run(sweep, sweepAt(1));
    return services.run(sweep, sweepAt(2));
  };
  /** An image whose body says no media type. */
  const bareImage = (...layers: string[]) => {
    const { digest } = content.image({ layers });
    const body = JSON.parse(String(content.blobs.get(digest)));
    content.blobs.delete(digest);
    return content.add(JSON.stringify({ ...body, mediaType: undefined }), OCI);
  };
  const layer = (text: string) => sha256(layerBytes(text));

  it('is kept when the manifest is announced as another kind, which is rejected', async () => {
    const image = bareImage('one');
    await drop({ image, tag: '1' });
    const receipt = await drop({ image: { ...image, mediaType: DOCKER } });
    expect(receipt).to.include({ status: 'rejected', code: 'manifest.ambiguous' });
    expect(receipt?.message).to.contain(`recorded as ${OCI}`).and.to.contain(DOCKER);
    expect(existsSync(web('manifests/oci', image.digest))).to.equal(true);
    expect(existsSync(web('manifests/2', image.digest))).to.equal(false);
    expect((await drop({ image, tag: '2' }))?.status).to.equal('published');
  });

  it('may be Docker’s or OCI’s when the bytes leave it open: the first drop decides', async () => {
    const image = bareImage('one');
    await drop({ image: { ...image, mediaType: DOCKER }, tag: '1' });
    expect(existsSync(web('manifests/2', image.digest))).to.equal(true);
    expect((await drop({ image }))?.code).to.equal('manifest.ambiguous');
  });

  it('is the same wherever one drop announces it', async () => {
    const image = bareImage('one');
    const asDocker = { ...image, mediaType: DOCKER };
    expect((await drop({ image, tag: '1' }, { image: asDocker }))?.code).to.equal(
      'manifest.ambiguous',
    );
    const index = content.index([
      { ...asDocker, platform: { os: 'linux', architecture: 'arm64' } },
    ]);
    expect((await drop({ image, tag: '1' }, { image: index, tag: '2' }))?.code).to.equal(
      'manifest.ambiguous',
    );
  });

  it('keeps the layers of an image that is later announced as an index', async () => {
    const { digest, size } = bareImage('one');
    await drop({ image: { mediaType: OCI, digest, size }, tag: '1' });
    const receipt = await drop({ image: { mediaType: OCI_INDEX, digest, size } });
    expect(receipt?.code).to.equal('manifest.ambiguous');
    await sweepTwice();
    expect(readFileSync(web('blobs', layer('one'))).equals(layerBytes('one'))).to.equal(true);
  });

  it('describes an image as an image, though another manifest has it as a layer', async () => {
    const image = content.image({
      layers: ['one'],
      platform: { os: 'linux', architecture: 'amd64' },
    });
    const index = content.index([image]);
    const body = JSON.parse(String(content.blobs.get(content.image({ layers: ['two'] }).digest)));
    const { digest, size } = image;
    const artifact = content.add(
      JSON.stringify({ ...body, layers: [{ mediaType: 'text/plain', digest, size }] }),
      OCI,
    );
    expect(
      (await drop({ image: artifact, tag: 'a' }, { image: index, tag: 'i' }))?.status,
    ).to.equal('published');
    expect(existsSync(web('manifests/oci', digest))).to.equal(true);
    expect(existsSync(web('blobs', digest))).to.equal(true);
    expect(existsSync(web('blobs', layer('one')))).to.equal(true);
    expect(await findings()).to.deep.equal([]);
  });

  it('keeps a layer that clients fetch elsewhere when a drop arrives without it', async () => {
    const layerType = 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip';
    const image = content.image({ layers: ['windows'], layerType, docker: true });
    await drop({ image, tag: '1' });
    const whole = new Map(content.blobs);
    content.blobs.delete(layer('windows'));
    await drop({ image, tag: '2' });
    expect(existsSync(web('blobs', layer('windows')))).to.equal(true);
    // And the other way round: it may come later.
    content = new TestContent();
    const other = content.image({ layers: ['later'], layerType, docker: true });
    const later = content.blobs.get(layer('later')) ?? Buffer.alloc(0);
    content.blobs.delete(layer('later'));
    await drop({ image: other, tag: '3' });
    expect(existsSync(web('blobs', layer('later')))).to.equal(false);
    for (const [digest, bytes] of whole) content.blobs.set(digest, bytes);
    content.blobs.set(layer('later'), later);
    await drop({ image: other, tag: '3' });
    expect(existsSync(web('blobs', layer('later')))).to.equal(true);
    expect(await findings()).to.deep.equal([]);
  });

  it('does not exist for text that dropdock wrote: a referrers response is not content', async () => {
    const image = content.image({ layers: ['one'] });
    const signature = content.image({ layers: ['signature'], subject: image });
    await drop({ image, tag: '1' }, { image: signature });
    const text = readFileSync(web('referrers', image.digest));
    expect(existsSync(web('manifests/oci-index', sha256(text)))).to.equal(true);
    // An index that leaves it out, as it may leave out what is published.
    const entry = { mediaType: OCI_INDEX, digest: sha256(text), size: text.length };
    expect((await drop({ image: content.index([entry]), tag: '2' }))?.code).to.equal(
      'content.missing',
    );
    expect(await findings()).to.deep.equal([]);
  });

  it('uses the first of two signatures of the same schema 1', async () => {
    const { digest } = content.add(layerBytes('old'), 'layer');
    const signed = (signature: string) => makeSchema1([digest], { signed: true, signature });
    const [first, second] = [signed('x'), signed('y')];
    for (const [name, { text }] of [
      ['app:1', first],
      ['app:2', second],
    ] as const) {
      const own = new TestContent();
      own.add(layerBytes('old'), 'layer');
      own.writeSkopeoDir(dropPath(root, name), own.add(text, 'schema 1'));
      await deliver(services, name);
    }
    expect(receipts(root).map(({ status }) => status)).to.deep.equal(['published', 'published']);
    for (const name of ['1', '2', sha256(first.payload)]) {
      expect(readFileSync(web('manifests/1', name), 'utf8')).to.equal(first.text);
    }
    await sweepTwice();
    expect(await findings()).to.deep.equal([]);
  });

  describe('with a different record from an older version', () => {
    let image: TestDescriptor;
    beforeEach(async () => {
      image = bareImage('one');
      await drop({ image, tag: '1' });
      expect(await findings()).to.deep.equal([]);
    });
    const snapshotFile = () => web('.snapshot.json');
    const loseLayer = () => {
      harmRecord(snapshotFile(), image.digest, (record) => ({
        ...record,
        blobs: record.blobs.filter(({ digest }) => digest !== layer('one')),
      }));
      const docker = JSON.parse(readFileSync(snapshotFile(), 'utf8')).conversions[image.digest];
      harmRecord(snapshotFile(), docker, (record) => ({ ...record, blobs: [] }));
      rmSync(web('blobs', layer('one')));
    };

    it('verify reports the lost layer', async () => {
      loseLayer();
      const found = await findings();
      const lost = found.filter(({ problem }) => problem === 'missing').map(({ path }) => path);
      expect(lost).to.include(`blobs/${layer('one')}`);
      expect(found.map(({ detail }) => detail).join()).to.contain(image.digest);
    });

    it('clean and its dry run keep the layer in the store', async () => {
      loseLayer();
      await drop({ image: content.image({ layers: ['two'] }), tag: '2' });
      await drop({ image: content.image({ layers: ['three'] }), tag: '2' });
      expect(statSync(stored(layer('one'))).nlink).to.equal(1);
      expect(existsSync(stored(layer('two')))).to.equal(true);
      await services.run(sweep, { ...sweepAt(1), graceMs: HOUR / 2 });
      const request = { ...sweepAt(2), going: [], renewing: [] };
      const planned = await services.run(planSweep, request);
      expect(planned.files).to.be.greaterThan(0);
      const { files } = await services.run(sweep, sweepAt(2));
      expect(files).to.equal(planned.files);
      expect(existsSync(stored(layer('two'))), 'nobody names it').to.equal(false);
      expect(existsSync(stored(layer('one')))).to.equal(true);
      // The image is dropped again, and whole.
      await drop({ image, tag: '1' });
      expect(readFileSync(web('blobs', layer('one'))).equals(layerBytes('one'))).to.equal(true);
    });

    const other: Record<string, Parameters<typeof harmRecord>[2]> = {
      'as an index': (record) => ({ ...record, mediaType: OCI_INDEX, blobs: [] }),
      'with another subject': (record) => ({ ...record, subject: layer('one') as Digest }),
      'with another size': (record) => ({ ...record, size: record.size + 1 }),
      'not at all': () => undefined,
    };
    for (const [how, change] of Object.entries(other)) {
      it(`verify reports it ${how}`, async () => {
        harmRecord(snapshotFile(), image.digest, change);
        const kind = how === 'as an index' ? 'oci-index' : 'oci';
        const [from, to] = [web('manifests/oci'), web('manifests', kind)];
        mkdirSync(to, { recursive: true });
        if (from !== to)
          writeFileSync(join(to, image.digest), readFileSync(join(from, image.digest)));
        const expected =
          how === 'not at all'
            ? { problem: 'missing', path: '.snapshot.json' }
            : { problem: 'damaged', path: `manifests/${kind}/${image.digest}` };
        const found = (await findings()).map(({ problem, path }) => ({ problem, path }));
        expect(found).to.deep.include(expected);
      });
    }

    it('verify reports an index whose listed manifests are missing from the record', async () => {
      const child = content.image({ layers: ['two'] });
      const index = content.index([child]);
      // The image has a tag of its own, so it is served in any case.
      const both = [
        { image: index, tag: 'i' },
        { image: child, tag: '2' },
      ];
      await drop(...both);
      harmRecord(snapshotFile(), index.digest, (record) => ({ ...record, children: [] }));
      const found = (await findings()).filter(({ path }) => path.endsWith(index.digest));
      expect(found.map(({ problem }) => problem)).to.deep.equal(['damaged']);
      expect((await drop(...both))?.status).to.equal('published');
      expect(await findings()).to.deep.equal([]);
    });

    it('the next drop with the right record repairs it', async () => {
      harmRecord(snapshotFile(), image.digest, (record) => ({ ...record, mediaType: OCI_INDEX }));
      expect((await drop({ image, tag: '1' }))?.status).to.equal('published');
      expect(await findings()).to.deep.equal([]);
      expect(existsSync(web('manifests/oci', image.digest))).to.equal(true);
    });
  });

  it('verify reports a forged name that an older version accepted', async () => {
    const { digest } = content.add(layerBytes('old'), 'layer');
    const { text } = makeSchema1([digest], { signed: false });
    content.writeSkopeoDir(dropPath(root, 'app:1'), content.add(text, 'schema 1'));
    await deliver(services, 'app:1');
    const name = sha256(text);
    const evil = makeSchema1([sha256('evil')], { signed: false }).payload;
    const block = signatureBlock({ formatLength: 0, formatTail: base64url(text) });
    const forged = withSignatures(evil, [block]);
    harmRecord(web('.snapshot.json'), name, (record) => ({
      ...record,
      mediaType: 'application/vnd.docker.distribution.manifest.v1+prettyjws',
      stored: sha256(forged) as Digest,
      size: forged.length,
    }));
    mkdirSync(dirname(stored(sha256(forged))), { recursive: true });
    for (const path of [web('manifests/1', name), web('manifests/1/1'), stored(sha256(forged))]) {
      rmSync(path, { force: true });
      writeFileSync(path, forged);
      chmodSync(path, 0o444);
    }
    const found = await findings();
    expect(found.map(({ path }) => path)).to.deep.equal([`manifests/1/${name}`]);
    expect(found.map(({ detail }) => detail).join()).to.contain('signature of other bytes');
  });
});
