/** Defects found by review and by testing, each covered by the test that reproduces it. */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { parseDropName } from '#src/image/names.js';
import { claimDrop, prepareInbox, returnClaim } from '#src/inbox/claim.js';
import { scan } from '#src/inbox/scan-job.js';
import { isTimestamp } from '#src/repository/timestamp.js';
import { loadSettings } from '#src/settings/settings.js';
import { nodeDisk } from '#src/storage/disk.js';
import { adoptSpooled } from '#src/storage/stored.js';
import { deliver, dropPath } from '../../support/deliver.js';
import { blobPath, TestContent } from '../../support/make-image.js';
import { readRepository } from '../../support/outside-reader.js';
import { receipts, type TestServices, testDaemon, testServices } from '../../support/service.js';
import { removeTempDirs, tempDir } from '../../support/temp-dir.js';
import { waitFor } from '../../support/wait-for.js';

const AMD64 = { os: 'linux', architecture: 'amd64' };
const ARM64 = { os: 'linux', architecture: 'arm64' };

describe('fixed defects', () => {
  let root: string;
  let services: TestServices;

  beforeEach(async () => {
    root = tempDir();
    services = await testServices(root, { disk: nodeDisk });
    await services.run(prepareInbox, { inbox: services.inbox });
  });

  afterEach(async () => {
    await services.close();
    removeTempDirs();
  });

  const published = () => join(root, 'published');

  for (const begin of ['app:1.0', 'app/blobs/sha256']) {
    it(`leaves a directory alone when a tool has only created ${begin}`, async () => {
      mkdirSync(dropPath(root, begin), { recursive: true });
      const yaml = 'settle: {quiet: 10ms, timeout: 10m}\ninbox: {scan: 20ms}\n';
      const { services: own, stop } = await testDaemon(root, { disk: nodeDisk, yaml });
      await waitFor('a word about it', () =>
        own.lines.some((line) => line.event === 'drop.waiting'),
      );
      await stop();
      expect(existsSync(dropPath(root, begin))).to.equal(true);
      expect(receipts(root)).to.deep.equal([]);
    });
  }

  it('returns an archive beside a newer one, never over it', async () => {
    const { inbox } = services;
    writeFileSync(dropPath(root, 'app.tar'), 'old');
    const [seen] = (await services.run(scan, { inbox, marker: undefined })).drops;
    const claim = claimDrop(nodeDisk, {
      inbox,
      path: 'app.tar',
      signature: seen?.signature ?? '',
      owner: 'p1x2',
      nowMs: Date.now(),
      marker: undefined,
    });
    if (typeof claim === 'string') throw new Error(claim);
    writeFileSync(dropPath(root, 'app.tar'), 'newer');
    returnClaim(nodeDisk, { inbox, claim });
    expect(readFileSync(dropPath(root, 'app.tar'), 'utf8')).to.equal('newer');
    const beside = `app@returned-${claim.at}.tar`;
    expect(readFileSync(dropPath(root, beside), 'utf8')).to.equal('old');
    const { repository, tag } = parseDropName(beside, true);
    expect([repository, tag]).to.deep.equal(['app', undefined]);
  });

  it('reports a path that is too long, and continues with the others', async () => {
    mkdirSync(dropPath(root, 'x'.repeat(240)));
    writeFileSync(join(dropPath(root, 'x'.repeat(240)), 'oci-layout'), '{}');
    const found = await services.run(scan, { inbox: services.inbox, marker: undefined });
    expect(found.drops).to.deep.equal([]);
    expect(found.ignored[0]?.reason).to.contain('longer than');
  });

  it('compares every declared size of a blob with the blob', async () => {
    const content = new TestContent();
    const right = content.image({ layers: ['a'] });
    const manifest = JSON.parse(content.blobs.get(right.digest)?.toString() ?? '');
    manifest.layers[0].size += 100;
    const wrong = content.add(JSON.stringify(manifest), right.mediaType);
    content.writeLayout(dropPath(root, 'app'), [
      { image: right, tag: 'right' },
      { image: wrong, tag: 'wrong' },
    ]);
    await deliver(services, 'app');
    expect(receipts(root)[0]).to.include({ status: 'rejected', code: 'size.mismatch' });
  });

  it('compares a blob size declared by a thin drop with the served blob', async () => {
    const content = new TestContent();
    const image = content.image({ layers: ['a'] });
    content.writeLayout(dropPath(root, 'app'), [{ image, tag: '1' }]);
    await deliver(services, 'app');
    const manifest = JSON.parse(content.blobs.get(image.digest)?.toString() ?? '');
    const [layer] = manifest.layers;
    layer.size += 100;
    const wrong = content.add(JSON.stringify(manifest), image.mediaType);
    content.writeLayout(dropPath(root, 'app'), [{ image: wrong, tag: '2' }]);
    rmSync(blobPath(dropPath(root, 'app'), layer.digest));
    await deliver(services, 'app');
    expect(receipts(root)[1]).to.include({ status: 'rejected', code: 'size.mismatch' });
  });

  it('adds a platform to the Docker form of an index when it is dropped later', async () => {
    const content = new TestContent();
    const images = [AMD64, ARM64].map((platform) =>
      content.image({ platform, layers: [platform.architecture] }),
    );
    const index = content.index(images);
    content.writeLayout(dropPath(root, 'app'), [{ image: index, tag: '1' }]);
    rmSync(blobPath(dropPath(root, 'app'), images[1]?.digest ?? ''));
    await deliver(services, 'app');
    const list = () =>
      JSON.parse(readFileSync(join(published(), 'web/app/manifests/list/1'), 'utf8')).manifests;
    expect(list()).to.have.length(1);
    expect(receipts(root)[0]?.leftOut?.[0]?.what).to.contain('linux/arm64');
    content.writeLayout(dropPath(root, 'app'), [{ image: index, tag: '1' }]);
    await deliver(services, 'app');
    expect(list()).to.have.length(2);
  });

  it('does not use a torn file in the store as the content in its name', () => {
    const [spooled, destination] = [join(root, 'spooled'), join(root, 'store', 'x')];
    mkdirSync(join(root, 'store'));
    writeFileSync(spooled, 'whole content');
    writeFileSync(destination, 'torn');
    expect(adoptSpooled(nodeDisk, { path: spooled, destination })).to.equal('copied');
    expect(readFileSync(destination, 'utf8')).to.equal('whole content');
  });

  it('does not publish the parts of an index by digest', async () => {
    const content = new TestContent();
    const child = content.image({ platform: AMD64 });
    const index = content.index([child]);
    content.writeLayout(dropPath(root, 'app:1'), [{ image: index }, { image: child }]);
    await deliver(services, 'app:1');
    const stored = readFileSync(join(published(), 'web/app/.snapshot.json'), 'utf8');
    expect(JSON.parse(stored).untagged).to.deep.equal({});
    expect(readRepository(published(), 'app')?.tags).to.deep.equal({ 1: index.digest });
  });

  it('rejects a repository with the id of another', async () => {
    await services.close();
    services = await testServices(root, { disk: nodeDisk, yaml: 'repositories: {b: {id: a}}\n' });
    const content = new TestContent();
    content.writeLayout(dropPath(root, 'a'), [{ image: content.image(), tag: '1' }]);
    await deliver(services, 'a');
    content.writeLayout(dropPath(root, 'b'), [{ image: content.image(), tag: '2' }]);
    const error = await deliver(services, 'b').catch((each: Error) => each);
    expect(error).to.include({ code: 'layout.unsafe' });
    expect(readRepository(published(), 'a')?.tags).to.have.keys('1');
  });

  for (const text of ['inbox: {scan: 0s}', 'retention: {interval: 30d}', 'lock: {stale: 1s}']) {
    it(`rejects a duration that exceeds the timer range: ${text}`, () => {
      const file = { name: 'it', text };
      const load = () => loadSettings({ file, environment: {}, flags: [] });
      expect(load).to.throw(/expected at/);
    });
  }

  it('does not accept an invalid date as the name of a snapshot', () => {
    expect(isTimestamp('20261399T000000.000Z')).to.equal(false);
    expect(isTimestamp('20261123T152634.123Z')).to.equal(true);
  });
});
