/**
 * I9: a pull that began before a flip succeeds after it. Method: a client resolves a tag, then requests
 * each object the manifest names, through web/<id> like any web server, while flips happen.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { prepareInbox } from '#src/inbox/claim.js';
import { nodeDisk } from '#src/storage/disk.js';
import { deliver, dropPath } from '../../support/deliver.js';
import { makeLayout, sha256 } from '../../support/make-image.js';
import { passTime, type TestServices, testServices } from '../../support/service.js';
import { removeTempDirs, tempDir } from '../../support/temp-dir.js';

describe('a running pull', () => {
  let root: string;
  let services: TestServices;

  async function open(yaml: string): Promise<void> {
    root = tempDir();
    services = await testServices(root, { disk: nodeDisk, yaml });
    await services.run(prepareInbox, { inbox: services.inbox });
  }

  afterEach(async () => {
    await services.close();
    removeTempDirs();
  });

  const publish = async (...layers: string[]) => {
    makeLayout(dropPath(root, 'app:1'), { layers });
    await deliver(services, 'app:1');
  };
  const get = (path: string) => readFileSync(join(root, 'published/web/app', path));

  for (const kind of ['oci', '2']) {
    it(`succeeds across ten flips, for a client of manifests/${kind}`, async () => {
      await open('retention: {keep: 1, grace: 1h}\n');
      await publish('a', 'b', 'c');
      const tag = get(`manifests/${kind}/1`);
      for (let n = 0; n < 10; n++) await publish(`new ${n}`);
      // Only the current snapshot and those of the grace period are left; the pull goes on.
      const manifest = get(`manifests/${kind}/${sha256(tag)}`);
      expect(manifest.equals(tag)).to.equal(true);
      const { config, layers } = JSON.parse(manifest.toString('utf8'));
      for (const { digest } of [config, ...layers])
        expect(sha256(get(`blobs/${digest}`))).to.equal(digest);
      expect(JSON.parse(get('tags/list').toString('utf8')).tags).to.deep.equal(['1']);
    });
  }

  it('is interrupted only after the grace period', async () => {
    await open('retention: {keep: 1, grace: 1h}\n');
    await publish('a');
    const digest = sha256(get('manifests/oci/1'));
    await publish('b');
    passTime(services, 59 * 60_000);
    await publish('c');
    expect(sha256(get(`manifests/oci/${digest}`))).to.equal(digest);
    passTime(services, 2 * 60_000);
    await publish('d');
    expect(() => get(`manifests/oci/${digest}`)).to.throw('ENOENT');
  });
});
