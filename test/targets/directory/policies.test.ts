/** The effect of repository settings and of earlier snapshots on the next snapshot. */
import { existsSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { prepareInbox } from '#src/inbox/claim.js';
import { readClock } from '#src/storage/clock.js';
import { nodeDisk } from '#src/storage/disk.js';
import { sweep } from '#src/targets/directory/sweep.js';
import { deliver, dropPath } from '../../support/deliver.js';
import { makeLayout, TestContent } from '../../support/make-image.js';
import { readRepository } from '../../support/outside-reader.js';
import { handsOf, receipts, type TestServices, testServices } from '../../support/service.js';
import { removeTempDirs, tempDir } from '../../support/temp-dir.js';

describe('publishing according to the settings', () => {
  let root: string;
  let services: TestServices;

  async function open(yaml: string): Promise<void> {
    root ??= tempDir();
    services = await testServices(root, { disk: nodeDisk, yaml: yaml || 'log: {level: info}\n' });
    await services.run(prepareInbox, { inbox: services.inbox });
  }

  async function reopen(yaml: string): Promise<void> {
    await services.close();
    await open(yaml);
  }

  beforeEach(() => {
    root = tempDir();
  });

  afterEach(async () => {
    await services.close();
    removeTempDirs();
  });

  const drop = async (path: string, layers: string[], tag = '1.0') => {
    const image = makeLayout(dropPath(root, path), { layers, tag });
    return { image, outcome: await deliver(services, path) };
  };
  const seen = (id: string) => readRepository(join(root, 'published'), id);
  const web = (...path: string[]) => join(root, 'published', 'web', ...path);

  it('merges: adds or moves tags, and keeps the rest', async () => {
    await open('');
    const one = await drop('app:1', ['one']);
    const two = await drop('app:2', ['two']);
    const three = await drop('app:1', ['three']);
    expect(seen('app')?.tags).to.deep.equal({ 1: three.image.digest, 2: two.image.digest });
    // What the grace period served is still there by digest.
    expect(seen('app')?.digests.has(one.image.digest)).to.equal(true);
    expect(receipts(root)[2]?.tags).to.deep.equal([
      { tag: '1', from: one.image.digest, to: three.image.digest },
    ]);
  });

  it('replaces in replace mode', async () => {
    await open("repositories: {'mirror/*': {mode: replace}}\n");
    await drop('mirror/app:1', ['one']);
    await drop('mirror/app:2', ['two']);
    expect(seen('mirror~app')?.tags).to.have.keys('2');
  });

  it('removes replaced content after its grace period', async () => {
    await open('retention: {grace: 0s, keep: 1}\n');
    const one = await drop('app:1', ['one']);
    await drop('app:1', ['two']);
    expect(seen('app')?.digests.has(one.image.digest)).to.equal(false);
    expect(readdirSync(join(root, 'published/master/app'))).to.have.length(1);
    const hex = one.image.digest.slice(7);
    expect(existsSync(join(root, 'state/content/sha256', hex.slice(0, 2), hex))).to.equal(true);
    const nowMs = Date.now() + 1000;
    await services.run(sweep, { roots: services.roots, nowMs, clock: readClock(), graceMs: 0 });
    expect(existsSync(join(root, 'state/content/sha256', hex.slice(0, 2), hex))).to.equal(false);
    expect(seen('app')?.tags).to.have.keys('1');
  });

  it('rejects moves of an immutable tag and still publishes new tags', async () => {
    await open("repositories: {app: {immutableTags: ['v*']}}\n");
    await drop('app:v1', ['one']);
    const { outcome } = await drop('app:v1', ['two']);
    expect(outcome?.status).to.equal('rejected');
    expect(receipts(root)[1]).to.include({ status: 'rejected', code: 'tag.immutable', path: 'v1' });
    await drop('app:latest', ['two']);
    await drop('app:latest', ['three']);
    expect(seen('app')?.tags).to.have.keys('v1', 'latest');
  });

  it('gives a repository its id, its url and its protection', async () => {
    await open(
      "repositories: {team/app: {id: my-app, protected: true, url: 'https://cdn/{id}/{snapshot}/'}}\n",
    );
    await drop('team/app:1', ['one']);
    const redirect = seen('my-app')?.redirect;
    expect(redirect).to.include({ repository: 'my-app', protected: true });
    expect(redirect?.['repo-registry-id']).to.equal('team/app');
    expect(redirect?.url).to.equal(`https://cdn/my-app/${seen('my-app')?.snapshot}/`);
  });

  it('creates a new snapshot from the same drop when the settings have changed', async () => {
    await open('redirect: {url: "https://one/{id}/"}\n');
    await drop('app:1', ['one']);
    const first = seen('app')?.snapshot;
    await reopen('redirect: {url: "https://two/{id}/"}\n');
    const again = await drop('app:1', ['one']);
    expect(again.outcome?.status).to.equal('published');
    expect(seen('app')?.snapshot).not.to.equal(first);
    expect(seen('app')?.redirect.url).to.equal('https://two/app/');
  });

  it('keeps the file of an unmoved tag, and writes a newer one for a moved tag', async () => {
    await open('');
    await drop('app:stays', ['one']);
    await drop('app:moves', ['two']);
    const before = statSync(web('app/manifests/oci/moves'));
    const kept = statSync(web('app/manifests/oci/stays'));
    await drop('app:moves', ['six']);
    const after = statSync(web('app/manifests/oci/moves'));
    expect(statSync(web('app/manifests/oci/stays')).ino).to.equal(kept.ino);
    expect(after.ino).not.to.equal(before.ino);
    // Two manifests of one size: nginx tells them apart by the second of their time alone.
    expect(after.size).to.equal(before.size);
    expect(Math.floor(after.mtimeMs / 1000)).to.be.greaterThan(Math.floor(before.mtimeMs / 1000));
  });

  it('names snapshots in increasing order when the clock steps back', async () => {
    await open('');
    await drop('app:1', ['one']);
    const first = seen('app')?.snapshot ?? '';
    Object.assign(services, { nowMs: () => Date.parse('2001-01-01T00:00:00Z') });
    await drop('app:2', ['two']);
    const second = seen('app')?.snapshot ?? '';
    expect(second > first, `${first} ${second}`).to.equal(true);
  });

  it('builds referrers from the content, for signatures dropped before or after', async () => {
    await open('');
    const content = new TestContent();
    const image = content.image({ layers: ['signed'] });
    content.writeLayout(dropPath(root, 'app:1'), [{ image }]);
    await deliver(services, 'app:1');
    const signatures = new TestContent();
    const artifactType = 'application/vnd.example.signature';
    const signature = signatures.image({ layers: ['sig'], subject: image, artifactType });
    signatures.writeLayout(dropPath(root, 'app'), [{ image: signature }]);
    await deliver(services, 'app');
    const response = JSON.parse(readFileSync(web('app/referrers', image.digest), 'utf8'));
    expect(response.manifests).to.deep.equal([
      {
        mediaType: signature.mediaType,
        digest: signature.digest,
        size: signature.size,
        artifactType,
      },
    ]);
    // The signature goes with its subject.
    await drop('app:1', ['unsigned']);
    expect(existsSync(web('app/referrers', image.digest))).to.equal(false);
  });

  it('repairs the link for Crane when a drop changes nothing', async () => {
    await open('');
    await drop('app:1', ['one']);
    nodeDisk.unlink(join(root, 'published/app/app.json'));
    const { outcome } = await drop('app:1', ['one']);
    expect(outcome?.status).to.equal('unchanged');
    expect(readlinkSync(join(root, 'published/app/app.json'))).to.equal('../web/app/app.json');
  });

  it('copies beyond the filesystem’s hard link limit', async () => {
    await open('');
    await drop('app:1', ['one']);
    const full = interfereOnce('EMLINK');
    Object.assign(services, { run: full.run });
    const { outcome } = await drop('app:2', ['one', 'two']);
    expect(full.failures()).to.equal(1);
    expect(outcome?.status).to.equal('published');
    expect(seen('app')?.tags).to.have.keys('1', '2');
  });

  function interfereOnce(code: string) {
    let failures = 0;
    const disk = {
      ...nodeDisk,
      link: (existing: string, path: string) => {
        if (failures === 0 && existing.includes('/content/') && path.includes('/work/')) {
          failures++;
          throw Object.assign(new Error(code), { code, syscall: 'link' });
        }
        nodeDisk.link(existing, path);
      },
    };
    return { run: handsOf(disk).run, failures: () => failures };
  }
});
