/**
 * The reason for this project: Pulp issue 3357. The redirect file cannot be written, or takes seconds;
 * during that time and afterwards, readers see the old redirect and the old content, byte for byte.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { nodeDisk } from '#src/storage/disk.js';
import { deliver, prepareSweep, SWEPT_DROP, SWEPT_ID } from '../../support/deliver.js';
import { type DiskOperation, interfereWith, systemError } from '../../support/faulty-disk.js';
import { startReader } from '../../support/looping-reader.js';
import { readRepository } from '../../support/outside-reader.js';
import { receipts, testDaemon, testServices } from '../../support/service.js';
import { removeTempDirs } from '../../support/temp-dir.js';
import { waitFor } from '../../support/wait-for.js';

const SLOW_REDIRECT = fileURLToPath(new URL('./slow-redirect.js', import.meta.url));

/** True for the operations that write the redirect file into the snapshot being built. */
function writesRedirect({ verb, paths }: DiskOperation): boolean {
  return verb === 'open' && paths.includes('/work/') && paths.includes(`${SWEPT_ID}.json`);
}

const FAILURES: Record<string, (operation: DiskOperation) => Error> = {
  EIO: (operation) => systemError('EIO', operation),
  ENOSPC: (operation) => systemError('ENOSPC', operation),
  'a thrown error': () => new TypeError('the renderer is broken'),
};

describe('Pulp issue 3357: the redirect file is written before the flip', () => {
  afterEach(removeTempDirs);

  for (const [name, makeError] of Object.entries(FAILURES)) {
    it(`keeps the old redirect and content when writing the redirect file fails: ${name}`, async () => {
      const { root, look } = await prepareSweep();
      const redirect = join(root, 'published', 'app', `${SWEPT_ID}.json`);
      const before = readFileSync(redirect);
      let failures = 0;
      const disk = interfereWith(nodeDisk, (operation) => {
        if (!writesRedirect(operation)) return;
        failures++;
        throw makeError(operation);
      });
      const services = await testServices(root, { disk });
      const error = await deliver(services, SWEPT_DROP).catch((each: Error) => each);
      await services.close();
      expect(error).to.be.instanceOf(Error);
      expect(failures).to.equal(1);
      expect(look()).to.equal('old');
      expect(readFileSync(redirect).equals(before)).to.equal(true);

      const { stop } = await testDaemon(root);
      await waitFor('the drop to be published', () => receipts(root).length === 2);
      await stop();
      expect(look()).to.equal('new');
    });
  }

  it('keeps the old redirect and content while writing the redirect file takes seconds', async () => {
    const { root, look } = await prepareSweep();
    const published = join(root, 'published');
    const redirect = join(published, 'app', `${SWEPT_ID}.json`);
    const before = readFileSync(redirect);
    const reader = startReader(published, [SWEPT_ID]);
    const child = spawn(process.execPath, [SLOW_REDIRECT, root, '1500'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(child.stdout, 'data');
    expect(look()).to.equal('old');
    expect(readFileSync(redirect).equals(before)).to.equal(true);
    await once(child, 'exit');
    expect(child.exitCode).to.equal(0);
    expect(look()).to.equal('new');
    const { looks, snapshots } = await reader.stop();
    expect(looks).to.be.greaterThan(100);
    expect(snapshots.size).to.be.at.most(2);
  });

  it('serves the new redirect with the new content, never one without the other', async () => {
    const { root } = await prepareSweep();
    const published = join(root, 'published');
    const disk = interfereWith(nodeDisk, () => {
      // Follows both links at every operation; the reader throws on any mixture.
      readRepository(published, SWEPT_ID);
    });
    const services = await testServices(root, { disk });
    await deliver(services, SWEPT_DROP);
    await services.close();
  });
});
